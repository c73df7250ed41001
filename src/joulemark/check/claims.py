"""The words lint: no text claims saved energy, kWh, CO2 or a break-even in joules unless a measured trial backs it.

Seconds are a proxy and a model is not a measurement, so such a sentence needs joules from a counter. It is backed by an
HTML comment right behind it that names a committed trial with measured joules (for saving, with a ratio of joules whose
interval lies above 1)::

    It saves energy on this machine. <!-- measured: 0123456789abcdef -->

Words in backticks, code blocks or quotation marks are mentions, not claims, and "energy-saving technique" is the name
of a field. Scripts of a page are skipped, but the words in its data blocks (axes, notes) are read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from joulemark.record import Kind, Record, Trial
from joulemark.store import Store, folders, opened

_ENERGY = r"(?:energy|joules?|electricity|power|watts?|battery)"
_SAVE = r"(?:sav(?:e|es|ed|ing|ings)|spar(?:e|es|ed|ing)|conserv(?:e|es|ed|ing))"
_CUT = r"(?:cut|cuts|cutting|reduc(?:e|es|ed|ing|tion)|lower(?:s|ed|ing)?|slash(?:es|ed)?|halv(?:e|es|ed|ing))"
_GAP = r"[\s-]+(?:[^\s,;:]+\s+){0,%d}"
"""Words that may stand between the two: none of them ends a clause."""

SAVING = re.compile(
    rf"\b{_SAVE}{_GAP % 5}{_ENERGY}\b|\b{_ENERGY}{_GAP % 3}(?:{_SAVE}|savers?)\b"
    rf"|\b{_CUT}{_GAP % 3}{_ENERGY}\b",
    re.IGNORECASE,
)
_REPAID = r"(?:break[\s-]?even|pays?\b[^.]*\bback|pay-?back|pays? for (?:it|them)sel(?:f|ves)|amorti[sz]\w*)"
BREAK_EVEN = re.compile(rf"(?=.*\b{_ENERGY}\b).*\b{_REPAID}\b", re.IGNORECASE | re.DOTALL)
AMOUNT = re.compile(r"\b(?:[kMGT]?Wh\b|(?:kilo)?watt[\s-]?hours?\b)", re.IGNORECASE)
CARBON = re.compile(r"\bCO[\s~${}]*[2₂]|\bcarbon\b|\bgreenhouse\b", re.IGNORECASE)

CLAIMS: dict[str, re.Pattern[str]] = {
    "saved energy": SAVING,
    "a break-even in energy": BREAK_EVEN,
    "watt-hours": AMOUNT,
    "carbon": CARBON,
}
"""What is claimed, and the words that claim it."""

MODELLED = re.compile(r"\bmodell?ed\b", re.IGNORECASE)
EMPHASIS = re.compile(r"<[^>]*>|[*_]")
CATEGORY = re.compile(r"\benergy-saving(?=\s+techniques?\b)", re.IGNORECASE)
MENTION = re.compile(r"`+[^`]*`+|\"[^\"\n]*(?:\n[^\"\n]+)?\"|“[^”]*”|«[^»]*»")
FENCE = re.compile(r"^[ ]{0,3}(```|~~~).*?(?:^[ ]{0,3}\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
BACKING = re.compile(r"<!--\s*measured:\s*([\w-]+)\s*-->")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+>#|]|\d+\.)[ \t]?)|(?<=[^\n])\|")
SENTENCE = re.compile(
    r"[^.!?]*(?:[.!?](?!\s|$|[\"”')\]*_\ue000])[^.!?]*)*[.!?]*[\"”')\]*_]*\s*(?:\ue000[^\ue001]*\ue001\s*)*"
)


class Unbacked(Record, frozen=True, kw_only=True):
    """A sentence that claims what no measurement shows."""

    line: int  # of the text it stands in
    sentence: str
    claim: str
    problem: str


def unbacked(text: str, trials: Mapping[str, Trial]) -> list[Unbacked]:
    """Claims in a Markdown text that none of ``trials`` (by key, see :func:`stored_trials`) backs.

    >>> [one.claim for one in unbacked("It saves 30 % of the energy. A `kWh` is a unit.", {})]
    ['saved energy']
    """
    plain = FENCE.sub(_blank, text)
    plain = BACKING.sub(lambda found: f"\ue000{found[1]}\ue001".ljust(len(found[0])), plain)
    plain = COMMENT.sub(_blank, plain)
    plain = CATEGORY.sub(_blank, MENTION.sub(_blank, plain))
    found = []
    for start, block in _pieces(BLOCK, plain):
        for match in SENTENCE.finditer(block):
            words = re.sub(r"\ue000[^\ue001]*\ue001", "", match[0])
            keys = re.findall(r"\ue000([^\ue001]*)\ue001", match[0])
            begin = start + match.start() + len(match[0]) - len(match[0].lstrip())
            for claim in _claims(words):
                problem = _problem(claim, keys, trials)
                if problem is not None:
                    line = plain.count("\n", 0, begin) + 1
                    found.append(Unbacked(line=line, sentence=" ".join(words.split()), claim=claim, problem=problem))
    return found


def unbacked_in(path: Path, trials: Mapping[str, Trial]) -> list[Unbacked]:
    """Claims in a file: Markdown, HTML (its visible words) or Python (its strings, without docstrings).

    Lines are those of the file for Markdown, and of the extracted words otherwise. Raises ``ValueError`` for a file
    that is not text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8") from error
    read: Callable[[str], str] = {".html": visible_words, ".py": shown_strings}.get(path.suffix, str)
    return unbacked(read(text), trials)


def stored_trials(results: str | Path) -> dict[str, Trial]:
    """Every sealed trial below ``results``, by its key; nothing is changed there."""
    found = {}
    for hardware_class, task in folders(results):
        store = Store(results, hardware_class=hardware_class, task=task)
        for name in store.names("trials"):
            try:
                trial = opened(store.read(f"trials/{name}") or b"", Trial, name)
            except ValueError:
                continue  # `joulemark check` says what is wrong with it; it backs nothing
            if trial.sealed:
                found[trial.record.key] = trial.record
    return found


def visible_words(page: str) -> str:
    """What a reader of an HTML page can see, one block a paragraph: text, titles, and words of its data blocks."""
    reader = _Page()
    reader.feed(page)
    reader.close()
    return "".join(reader.words)


def shown_strings(source: str) -> str:
    """String constants of a Python file, one a paragraph, docstrings left out."""
    tree = ast.parse(source)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told)
    return "\n\n".join(node.value for node in constants if isinstance(node.value, str))


def _blank(match: re.Match[str]) -> str:
    """As many spaces, so that lines stay where they are; a letter keeps words on both sides apart."""
    return "".join("\n" if letter == "\n" else " " for letter in match[0])


def _pieces(separator: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in separator.finditer(text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


def _claims(words: str) -> list[str]:
    """What a sentence claims. A model's joules may be lower, if the sentence says that they are modelled."""
    found, words = [], EMPHASIS.sub(" ", words)
    for claim, pattern in CLAIMS.items():
        match = pattern.search(words)
        reduced = match is not None and claim == "saved energy" and re.match(rf"{_CUT}\b", match[0], re.IGNORECASE)
        if match is not None and not (reduced and MODELLED.search(words)):
            found.append(claim)
    return found


def _problem(claim: str, keys: list[str], trials: Mapping[str, Trial]) -> str | None:
    """Why none of the named trials backs a claim, or ``None`` if one does."""
    if not keys:
        return "no measured trial is named behind it"
    problems = []
    for key in keys:
        if key not in trials:
            problems.append(f"there is no trial {key}")
            continue
        metered = [t for t in trials[key].timings if t.joules.value is not None and t.joules.kind is Kind.MEASURED]
        saved = any(t.joules_ratio is not None and t.joules_ratio.low > 1 for t in metered)
        if not metered:
            problems.append(f"trial {key} measured no joules")
        elif claim in ("saved energy", "a break-even in energy") and not saved:
            problems.append(f"trial {key} measured joules and does not show fewer")
        else:
            return None
    return "; ".join(problems)


class _Page(HTMLParser):
    """Collects the words of a page; every tag that is not part of a line of text ends a paragraph."""

    INLINE = frozenset(
        ("a", "abbr", "b", "code", "em", "i", "kbd", "mark", "q", "s", "small", "span", "strong", "sub", "sup", "u")
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.inside: tuple[str, str | None] | None = None  # script or style, and its type

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a paragraph; titles and labels are words too."""
        given = dict(attrs)
        shown = [given[name] for name in ("alt", "title", "aria-label", "content") if given.get(name)]
        self.words += [f"\n\n{words}\n\n" for words in shown]
        if tag in ("script", "style"):
            self.inside = tag, given.get("type")
        self._edge(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close a paragraph."""
        if self.inside is not None and tag == self.inside[0]:
            self.inside = None
        self._edge(tag)

    def handle_data(self, data: str) -> None:
        """Keep text; of a script only the strings of a JSON data block."""
        if self.inside is None:
            self.words.append(data)
        elif self.inside == ("script", "application/json"):
            try:
                self.words += [f"\n\n{words}" for words in _strings(msgspec.json.decode(data))]
            except msgspec.DecodeError:
                self.words.append(data)  # a template's placeholder

    def handle_comment(self, data: str) -> None:
        """Keep comments: a backing is one."""
        self.words.append(f"<!--{data}-->")

    def _edge(self, tag: str) -> None:
        if tag in ("code", "kbd"):
            self.words.append("`")
        elif tag == "q":
            self.words.append('"')
        elif tag not in self.INLINE:
            self.words.append("\n\n")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
