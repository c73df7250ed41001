"""Knobs of the first schema, as plain JSON values, in the form of the second: one dictionary for each link of a chain.

The first schema named each knob of a chain "link.knob", so that a link that stood there twice had one set for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.judging.settings import links_of


def migrate_knobs(technique: str, stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Knobs of schema 1 as those of schema 2. ``ValueError`` if one is of no link of the technique.

    A knob is an argument of a function and has no dot in its name: what stands before the last dot is the link.

    >>> migrate_knobs("a:x=0+a:x=0.5", {"a:x=0.x": 0, "a:x=0.5.x": 0.5})
    [{'x': 0}, {'x': 0.5}]
    """
    links = links_of(technique)
    if len(links) == 1:
        return [dict(stated)]
    found: dict[str, dict[str, Any]] = {link: {} for link in links}
    for name, value in stated.items():
        link, _, knob = name.rpartition(".")
        if link not in found:
            raise ValueError(f"{name} is a knob of no link of {technique}: the record is left as it is")
        found[link][knob] = value
    return [dict(found[link]) for link in links]
