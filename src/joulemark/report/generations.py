"""Generations of code: which rows were made, judged or measured by code that is not that of now, and what changed.

A row that other code *made* stays, marked. A row that was *judged or measured* by other code than the newest rows of
its study stands apart, and gets no ratio beside them. Rows of one generation are comparable, whatever the code of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from joulemark.judging.trace import changed, digest
from joulemark.record import Attempt, FreeTrial, Made, Record, Trial
from joulemark.report.words import listed

SHOWN = 6
"""So many changed units are named in a sentence; of the others it says how many."""

Units = tuple[str, ...] | None
"""Units of code that were changed since; empty: none, ``None``: the code is not known."""


class Generations(Record, frozen=True, kw_only=True):
    """What changed since each record of a study was made, by the record's key."""

    made: dict[str, Units]  # by the key of the attempt
    judged: dict[str, Units]  # by the key of the attempt
    measured: dict[str, Units]  # by the key of the trial
    free: dict[str, Units]  # by the key of the free trial
    apart: dict[str, tuple[str, ...]]  # attempt or trial -> units in which it differs from the newest of its kind


def generations_of(
    attempts: Sequence[Attempt], trials: Sequence[Trial], free: Sequence[FreeTrial], made: Mapping[str, Made]
) -> Generations:
    """Hold the traces of the records of one study against the code of now, and against each other.

    ``made`` are the makings by key; of one that is not there nothing is said: ``joulemark check`` does.
    """
    since = _Since()
    return Generations(
        made={one.key: since(made[one.made].code) for one in attempts if one.made in made},
        judged={one.key: since(one.code) for one in attempts},
        measured={one.key: since(one.code) for one in trials},
        free={one.key: since(one.code) for one in free if one.reason is None},
        apart={**other_code(attempts), **other_code(trials)},
    )


class _Since:
    """What changed since a trace was taken, looked up once for each that differs."""

    def __init__(self) -> None:
        self.known: dict[tuple[tuple[str, str], ...], tuple[str, ...]] = {}

    def __call__(self, code: Mapping[str, str]) -> Units:
        if not code:
            return None
        units = tuple(sorted(code.items()))
        if units not in self.known:
            self.known[units] = changed(code)
        return self.known[units]


def other_code(records: Sequence[Attempt] | Sequence[Trial]) -> dict[str, tuple[str, ...]]:
    """Key -> units in which a record is of other code than those that it stands beside; none: it is left out.

    Of each unit counts what it is now, if any of the records used it so, and else what the newest that used it did. So
    records that all are of one earlier generation stand beside each other, and that one net has a kind of layer that
    another lacks makes no generation.
    """
    newest: list[Attempt | Trial] = sorted(records, key=lambda one: one.provenance.started)
    used = {unit: was for one in newest for unit, was in one.code.items()}
    among = {(unit, was) for one in records for unit, was in one.code.items()}
    now = {unit: digest(unit) for unit in used}
    reference = {unit: now[unit] if (unit, now[unit]) in among else was for unit, was in used.items()}
    found = {
        one.key: tuple(sorted(unit for unit, was in one.code.items() if reference[unit] != was)) for one in records
    }
    return {key: units for key, units in found.items() if units}


def earlier_flags(generations: Generations, attempts: Iterable[str], trials: Iterable[str] = ()) -> tuple[str, ...]:
    """Say of a row what of it is not of the code of now."""
    attempts, trials = list(attempts), list(trials)
    kinds = (("made", generations.made, attempts), ("judged", generations.judged, attempts),
             ("measured", generations.measured, trials))  # fmt: skip
    flags = []
    for word, test in (("earlier code", bool), ("unknown code", lambda units: units is None)):
        verbs = [verb for verb, known, keys in kinds if any(test(known.get(key, ())) for key in keys)]
        if verbs:
            flags.append(word if len(verbs) == len(kinds) else f"{listed(verbs)} by {word}")
    return tuple(flags)


def why_apart(generations: Generations, records: Iterable[str]) -> str | None:
    """Why a row gets no ratio beside the newest rows of its study; ``None`` if it may have one."""
    units = sorted({unit for key in records for unit in generations.apart.get(key, ())})
    if not units:
        return None
    return f"judged or measured by other code than the newest rows ({_named(units)} changed since): run it again"


def earlier_code(generations: Generations) -> list[str]:
    """Sentences for under the boards: how much is of earlier code, and what changed since."""
    kinds = {
        "nets were made": generations.made,
        "nets were judged": generations.judged,
        "trials were measured": generations.measured,
        "free settings were measured": generations.free,
    }
    return [sentence for what, known in kinds.items() for sentence in _sentences(what, list(known.values()))]


def _sentences(what: str, known: Sequence[Units]) -> Iterator[str]:
    earlier = [units for units in known if units]
    if earlier:
        names = sorted({unit for units in earlier for unit in units})
        yield f"{len(earlier)} of {len(known)} {what} before a change of {_named(names)}."
    if unknown := sum(units is None for units in known):
        yield f"Of {unknown} of {len(known)} {what.partition(' ')[0]} nobody knows the code."


def _named(units: Sequence[str]) -> str:
    shown = [unit.removeprefix("joulemark.") for unit in units[:SHOWN]]
    shown = ["".join(c if c.isprintable() else " " for c in unit)[:80] for unit in shown]  # a record may say anything
    return listed([*shown, f"{len(units) - SHOWN} more"] if len(units) > SHOWN else shown)
