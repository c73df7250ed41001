"""Chains: techniques as a run takes them, by name, alone or composed, and what a suite's budget gives each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.task import BASELINE
from joulemark.techniques.technique import Technique, TechniqueError, check_chain, load_technique

Chain = Sequence[Technique]
"""Techniques in the order in which they run; one of them alone is a chain, too."""


def chains_of(names: Sequence[str], files: Sequence[Path] = ()) -> list[Chain]:
    """Techniques by name, "+" joining those composed in this order; raises :class:`TechniqueError`.

    ``name:knob=value,knob=value`` fixes knobs. "baseline" is no technique: alone, it asks for the baselines only.
    """
    names = [name for name in names if name != BASELINE]
    made: list[Chain] = [tuple(_technique(part.strip(), files) for part in name.split("+")) for name in names]
    known: dict[str, str] = {}
    for name, chain in zip(names, made, strict=True):
        check_chain(chain)
        first = known.setdefault(chain_name(chain), name)
        if first != name:  # the same setting, written in another way
            raise TechniqueError(f"{name} is {first} once more: once is enough")
    return made


def chain_name(chain: Chain) -> str:
    """Name of a composition; the baseline is the empty one."""
    return "+".join(one.name for one in chain) or BASELINE


def searched_place(chain: Chain) -> int:
    """The place of the link whose knob is searched: the first that has one (or the first, if none has)."""
    return next((place for place, one in enumerate(chain) if one.knob is not None), 0)


def searched_in(chain: Chain) -> Technique:
    """The technique of a chain whose knob is searched."""
    return chain[searched_place(chain)]


def _technique(text: str, files: Sequence[Path]) -> Technique:
    name, colon, settings = text.partition(":")
    one = load_technique(name, files)
    if not colon:
        return one
    given: dict[str, Any] = {}
    for part in settings.split(","):
        knob, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise TechniqueError(f"{text}: write knobs as name:knob=value, separated by commas")
        if knob in given:
            raise TechniqueError(f"{text}: {knob} is set twice: once is enough")
        try:
            given[knob] = msgspec.json.decode(value.lower() if value in ("True", "False") else value)
        except msgspec.DecodeError:
            given[knob] = value  # a word
    return one.fixed(given)


def attempts_of(suite: Suite, chain: Chain) -> int:
    """How many settings of a chain are tried on one seed, at most."""
    return suite.budget.of(chain[0].start)[0] if searched_in(chain).knob else 1


def shares(chain: Chain, epochs: int) -> list[int]:
    """Epochs of each technique of a chain: those that train share the budget alike, the last of them has the rest.

    One that does not train could not spend it and is given all. Raises ``ValueError`` if there are fewer epochs than
    techniques that train.

    >>> from joulemark.techniques.technique import load_technique
    >>> shares([load_technique(name) for name in ("magnitude", "conditional-deep-learning", "int8")], 5)
    [2, 3, 5]
    """
    training = [one.name for one in chain if one.trains]
    if len(training) > epochs:
        raise ValueError(
            f"{chain_name(chain)}: a budget of {epochs} epochs is too small for {len(training)} techniques that train"
        )
    each, rest = divmod(epochs, max(len(training), 1))
    last = max((place for place, one in enumerate(chain) if one.trains), default=None)
    return [(each + rest * (place == last)) if one.trains else epochs for place, one in enumerate(chain)]


def refuse_thin(suite: Suite, chains: Sequence[Chain]) -> None:
    """Raise ``ValueError`` for a chain that has not an epoch for each technique that trains."""
    for chain in chains:
        shares(chain, suite.budget.of(chain[0].start)[1])
