"""The words lint: no text claims saved energy, kWh, CO2 or a break-even in joules unless a measured trial backs it.

Seconds are a proxy and a model is not a measurement, so such a sentence needs joules from a counter. It is backed by an
HTML comment right behind it that names a committed trial of the technique that the sentence names::

    `int8` saves energy on this machine. <!-- measured: 0123456789abcdef -->

That trial ran with real kernels, and for saving, its ratio of joules lies above the A/A control's beside it. Nothing
backs carbon: no counter reads it. Words in back ticks, code blocks or quotation marks are mentions, not claims, and
"energy-saving technique" is the name of a field.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from joulemark.check.prose import COMMENT, FENCE, QUOTE, blank, blocks, read_words, seen
from joulemark.check.values import faults
from joulemark.record import Attempt, Kind, Quantity, Record, Timing, Trial, Truth
from joulemark.store import Store, StoreError, folders, opened
from joulemark.task import BASELINE

_THING = r"(?:reports?|models?|counters?|records?|files?|figures?|tables?|readings?|meters?|boards?|columns?|values?)"
_ENERGY = (
    rf"(?:(?:energy|(?:kilo|mega|giga|milli|micro|nano|pico)?joules?|electricity|watts?|battery)(?!\s+{_THING}\b)"
    r"|power(?!\s+(?:limits?|caps?|laws?|states?|modes?|plans?|supply|supplies)\b)"
    r"|\d[\d.,]*\s*(?-i:[pnuμmkMG]?J))"
)
_SAVE = r"(?:sav(?:e|es|ed|ing|ings)|spar(?:e|es|ed|ing)|conserv(?:e|es|ed|ing))"
_CUT = r"(?:cut|cuts|cutting|reduc(?:e|es|ed|ing|tion)|lower(?:s|ed|ing)?|slash(?:es|ed)?|halv(?:e|es|ed|ing))"
_WORD = r"[^\s,;:]+"
_GAP = rf"[\s-]+(?:{_WORD}\s+){{0,%d}}"
"""Words that may stand between the two: none of them ends a clause."""
_SAVED_GAP = rf"[\s-]+(?:(?!(?:with|as|beside|alongside|into)\b){_WORD}\s+){{0,5}}?"
"""What is saved with, as or beside joules is a file."""
_FILED = r"(?!\s+(?:as|into|beside|alongside|to\s+(?:disk|a|the))\b)"
_SHARE = r"(?:half|(?:a|one)\s+(?:third|quarter|fifth|tenth|fraction))\s+(?:of\s+)?(?:the|its|their|as\s+much)"
_LESS = r"\d[\d.,]*\s*(?:%|percent|x|\u00d7|times|-?\s?fold)\s+(?:less|fewer|lower)"

SAVED = re.compile(
    rf"\b{_SAVE}{_SAVED_GAP}{_ENERGY}\b|\b{_ENERGY}{_GAP % 3}(?:{_SAVE}{_FILED}|savers?)\b", re.IGNORECASE
)
REDUCED = re.compile(
    rf"\b{_CUT}{_GAP % 3}{_ENERGY}\b|\b{_ENERGY}[\s-]+(?:halved|slashed)\b"
    rf"|\b{_ENERGY}\s+(?:{_WORD}\s+){{0,3}}?(?:is|are|was|were|gets?|becomes?)\s+(?:{_WORD}\s+){{0,4}}?"
    rf"(?:lower|less|smaller|fewer|halved|cut|reduced|lowered|slashed)\b"
    rf"|\b(?:us(?:e|es|ed|ing)|need(?:s|ed)?|costs?|draws?|drew|consum(?:e|es|ed|ing)|spends?|at|for)"
    rf"\s+(?:only\s+|just\s+|about\s+)?{_SHARE}\s+{_ENERGY}\b|\b{_LESS}\s+{_ENERGY}\b",
    re.IGNORECASE,
)
_REPAID = (
    r"(?:(?:break(?:s|ing)?|broke)[\s-]?even|(?:pay(?:s|ing)?|paid|earn(?:s|ed)?)\b[^.;]*?\bback|pay-?back"
    r"|(?:pay(?:s|ing)?|paid)\s+off|(?:pay(?:s|ing)?|paid)\s+for\s+(?:itself|themselves|(?:its|their)\s+(?:own\s+)?\w+)"
    r"|amorti[sz]\w*|recoup\w*)"
)
_CLAUSE = r"(?:[^.;!?]|\.(?=\d))*?"
_KNOWN = rf"{_ENERGY}\b(?!\s+(?:(?:is|are|was|were|stays?)\s+)?(?:unknown|not)\b)"
BREAK_EVEN = re.compile(rf"\b{_REPAID}\b{_CLAUSE}\b{_KNOWN}|\b{_KNOWN}{_CLAUSE}\b{_REPAID}\b", re.IGNORECASE)
_NO_LETTER = r"(?<![^\W\d_])"
AMOUNT = re.compile(rf"{_NO_LETTER}[kMGTmnuμ]?W[\s·⋅∙•.-]?h\b|\w*watts?[\s-]?hours?\b", re.IGNORECASE)
CARBON = re.compile(
    rf"{_NO_LETTER}(?:[kmuμMG]?g|[kMG]?t)?[\s-]?CO[\s~${{}}]*2(?!\d)|\bcarbon\b|\bgreenhouse\b", re.IGNORECASE
)

CLAIMS: dict[str, tuple[re.Pattern[str], ...]] = {
    "saved energy": (SAVED, REDUCED),
    "a break-even in energy": (BREAK_EVEN,),
    "watt-hours": (AMOUNT,),
    "carbon": (CARBON,),
}
"""What is claimed, and the words that claim it."""

FIGURE = re.compile(
    rf"\d\s*(?:%|percent|x\b|\u00d7|times|-?fold)|\d\s*(?-i:[pnuμmkMG]?(?:J|Wh))\b|{_SHARE}", re.IGNORECASE
)
"""How much: a quotation beside it is no mention of words, but what was got."""
NEGATION = re.compile(r"\b(?:not|never|no|cannot|without|nor|nothing|neither)\b|n['\u2019]t\b", re.IGNORECASE)
DENIED = re.compile(
    r"(?:\b(?:do|does|did|can|could|will|would|may|might|must|should|has|have|had|is|are|was|were)"
    r"(?:\s+not|n['\u2019]t)|\bcannot|\bnever|\bwithout|\bno)\s+$",
    re.IGNORECASE,
)
EXCEPT = re.compile(r"\b(?:but|only|less|fewer|more|just)\b", re.IGNORECASE)
MODELLED = re.compile(r"\bmodell?ed\b", re.IGNORECASE)
TAGS = re.compile(r"</?(?:br|p|div|li|td|tr)\b[^>]*>", re.IGNORECASE)
EMPHASIS = re.compile(r"<[^>]*>|[*_]")
CATEGORY = re.compile(r"\benergy-saving(?=\s+techniques?\b)", re.IGNORECASE)
BACKING = re.compile(r"<!--\s*measured:\s*([\w-]+)\s*-->")
SENTENCE = re.compile(
    r"[^.!?]*(?:[.!?](?!\s|$|[\"”')\]*_\ue000])[^.!?]*)*[.!?]*[\"”')\]*_]*\s*(?:\ue000[^\ue001]*\ue001\s*)*"
)


class Unbacked(Record, frozen=True, kw_only=True):
    """A sentence that claims what no measurement shows."""

    line: int  # of the text it stands in
    sentence: str
    claim: str
    problem: str


class Backing(Record, frozen=True, kw_only=True):
    """A stored trial and what is stored beside it that a claim needs."""

    trial: Trial
    controls: tuple[Timing, ...] = ()  # of the A/A controls in the same folder
    making_joules: Quantity | None = None  # that making its net took


def unbacked(text: str, trials: Mapping[str, Backing]) -> list[Unbacked]:
    """Claims in a Markdown text that none of ``trials`` (by key, see :func:`stored_trials`) backs.

    >>> [one.claim for one in unbacked("It saves 30 % of the energy. A `kWh` is a unit.", {})]
    ['saved energy']
    """
    whole = BACKING.sub(lambda found: f"\ue000{found[1]}\ue001".ljust(len(found[0])), FENCE.sub(blank, seen(text)))
    whole = COMMENT.sub(blank, whole)
    found = []
    for start, block in blocks(whole):
        block = CATEGORY.sub(blank, block)
        bare = QUOTE.sub(blank, block)
        for match in SENTENCE.finditer(bare):
            said, place = block[match.start() : match.end()], start + match.start()
            keys = re.findall(r"\ue000([^\ue001]*)\ue001", match[0])
            names = whole[place : start + match.end()]  # with its code: there a technique is named
            line = whole.count("\n", 0, place + len(match[0]) - len(match[0].lstrip())) + 1
            words = " ".join(re.sub(r"\ue000[^\ue001]*\ue001", "", said).split())
            for claim in _claims(said if FIGURE.search(match[0]) else match[0]):
                problem = _problem(claim, keys, names, trials)
                if problem is not None:
                    found.append(Unbacked(line=line, sentence=words, claim=claim, problem=problem))
    return found


def unbacked_in(path: Path, trials: Mapping[str, Backing]) -> list[Unbacked]:
    """Claims in a file: Markdown, HTML (its visible words), Python or JavaScript (its strings).

    Lines are those of the file for Markdown, and of the extracted words otherwise. Raises ``ValueError`` for a file
    that cannot be read as what it is called.
    """
    return unbacked(read_words(path), trials)


def stored_trials(results: str | Path) -> dict[str, Backing]:
    """Every sealed trial below ``results`` by its key; nothing is changed there.

    One with joules from a counter must have sound values, too.
    """
    found = {}
    for hardware_class, task in folders(results):
        store = Store(results, hardware_class=hardware_class, task=task)
        attempts = {attempt.key: attempt for attempt in _sealed(store, "attempts", Attempt)}
        truths = {truth.key: truth for truth in _sealed(store, "truths", Truth)}
        trials = [one for one in _sealed(store, "trials", Trial) if not (_metered(one) and faults(one, truths))]
        controls = tuple(timing for trial in trials if trial.technique == BASELINE for timing in trial.timings)
        for trial in trials:
            attempt = attempts.get(trial.attempt)
            spent = attempt.making.joules if attempt is not None else None
            found[trial.key] = Backing(trial=trial, controls=controls, making_joules=spent)
    return found


def _sealed(store: Store, kind: str, record_type: type[Record]) -> Iterator[Any]:
    """Records of one kind that are as they were stored; `joulemark check` says what is wrong with the others."""
    for name in store.names(kind):
        try:
            one = opened(store.read(f"{kind}/{name}") or b"", record_type, name)
        except (ValueError, StoreError):
            continue
        if one.sealed:
            yield one.record


def _claims(words: str) -> list[str]:
    """What a sentence claims, whatever marks it up."""
    words = seen(html.unescape(EMPHASIS.sub("", TAGS.sub(" ", words))))
    words = re.sub(r"[\"“”«»]|\ue000[^\ue001]*\ue001", " ", words)
    return [
        claim
        for claim, patterns in CLAIMS.items()
        if any(not _excused(pattern, match) for pattern in patterns for match in pattern.finditer(words))
    ]


def _excused(pattern: re.Pattern[str], match: re.Match[str]) -> bool:
    """Whether the words found deny a gain, or say of a model's joules that they are lower."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if pattern in (SAVED, REDUCED, BREAK_EVEN) and len(NEGATION.findall(match.string)) == 1:
        denied = DENIED.search(before) or re.search(r"\b(?:is|are|was|were)\s+not\b", match[0], re.IGNORECASE)
        if denied and not EXCEPT.search(match[0]):
            return True
    return pattern is REDUCED and bool(
        MODELLED.search(match[0])
        or re.search(rf"{MODELLED.pattern}(?:[\s-]+(?!(?:and|or|so|but)\b){_WORD}){{0,2}}\s*$", before, re.IGNORECASE)
        or re.match(rf"\s*\(?{MODELLED.pattern}", after, re.IGNORECASE)
    )


def _problem(claim: str, keys: list[str], names: str, trials: Mapping[str, Backing]) -> str | None:
    """Why none of the named trials backs a claim, or ``None`` if one does."""
    if claim == "carbon":
        return "no counter reads carbon, so nothing can back it"
    if not keys:
        return "no measured trial is named behind it"
    problems = [_shortfall(claim, key, names, trials.get(key)) for key in keys]
    return None if None in problems else "; ".join(filter(None, problems))


def _shortfall(claim: str, key: str, names: str, backing: Backing | None) -> str | None:
    """What one trial lacks to back a claim."""
    if backing is None:
        return f"there is no trial {key}"
    trial = backing.trial
    metered = _metered(trial)
    real = [timing for timing in metered if timing.execution == "real"]
    if not real:
        return f"trial {key} measured no joules" + (" with real kernels" if metered else "")
    if missing := [part for part in trial.technique.split("+") if not _names(names, part)]:
        return f"trial {key} is of {missing[0]}, which the sentence does not name"
    if claim == "watt-hours":
        return None
    if not any(_above_control(timing, backing.controls) for timing in real):
        return f"trial {key} measured joules and does not show fewer than the A/A control can tell apart"
    spent = backing.making_joules
    if claim == "a break-even in energy" and (spent is None or spent.value is None or spent.kind is not Kind.MEASURED):
        return f"the joules of making the net of trial {key} were not measured"
    return None


def _metered(trial: Trial) -> list[Timing]:
    """Timings with joules from a counter."""
    return [one for one in trial.timings if one.joules.value is not None and one.joules.kind is Kind.MEASURED]


def _above_control(timing: Timing, controls: tuple[Timing, ...]) -> bool:
    """Whether the interval of its joules lies above all that the A/A controls of its setting differ from themselves."""
    beside = [
        one.joules_ratio for one in controls if (one.backend, one.batch_size) == (timing.backend, timing.batch_size)
    ]
    margins = [max(ratio.high, 1 / ratio.low) for ratio in beside if ratio is not None]
    return bool(margins) and timing.joules_ratio is not None and timing.joules_ratio.low > max(margins)


def _names(text: str, technique: str) -> bool:
    """Whether a text holds a technique's name, written with hyphens or spaces."""
    name = r"[\s_-]+".join(re.escape(word) for word in technique.split("-"))
    return re.search(rf"(?<!\w){name}(?!\w)", text, re.IGNORECASE) is not None
