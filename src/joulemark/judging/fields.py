"""Every value inside a record, with the path of its field: what drawing and checking look at one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


def values_in(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of a record itself, then of its fields in order, each before what is inside it.

    >>> from joulemark.record import Ratio
    >>> [path for path, _ in values_in({"known": [Ratio(value=2.0, low=1.9, high=2.1, count=4)]})][:4]
    ['', 'known', 'known[0]', 'known[0].value']
    """
    yield path, value
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from values_in(getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from values_in(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from values_in(inner, f"{path}[{index}]")
