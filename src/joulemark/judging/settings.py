"""A setting: a technique, alone or composed, with the knobs of each of its links."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from joulemark.task import BASELINE


def links_of(technique: str) -> list[str]:
    """The names of the links of a chain, in order; the baseline has none.

    The plus of a number, in the value of a fixed knob, joins nothing.

    >>> links_of("magnitude:sparsity=0.5+int8"), links_of("mine:strength=1e+20"), links_of("baseline")
    (['magnitude:sparsity=0.5', 'int8'], ['mine:strength=1e+20'], [])
    """
    return [] if technique == BASELINE else re.split(r"(?<![0-9]e)\+|\+(?![0-9])", technique)


def setting_key(technique: str, knobs: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """What tells settings apart: the technique and the knobs of each link, in whatever order these were stored.

    >>> setting_key("t", [{"x": 1, "y": 2}]) == setting_key("t", [{"y": 2, "x": 1}])
    True
    """
    return technique, str([sorted(link.items()) for link in knobs])
