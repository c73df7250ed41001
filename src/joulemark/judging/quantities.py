"""Arithmetic of quantities: sums, differences and ratios that keep what is known of a number and refuse nonsense.

Uncertainties follow the GUM (JCGM 100:2008). Random parts are independent, so their squares add, each weighted by the
partial derivative (5.1.2, equation 10). The systematic part is a sensor's uncertain gain, an input that quantities
share and so are correlated by (5.2). Whatever names the same ``gain`` is off by the same share: it adds linearly in a
sum (5.2.2, note 1: correlation +1) and cancels in a ratio. Of other gains the correlation is not known, since boards
of one model can err alike, so the largest uncertainty any correlation gives is stated: the linear sum of the parts.

What is unknown stays unknown with its reason; it is never taken as 0. Intervals (``low``, ``high``) are kept by
:func:`scaled` alone, because two intervals do not make a third one; but the least and the most that an unknown part can
have been do add up with what is known of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from joulemark.record import Quantity

MODULE = "wall/module-"
"""How the scope path of a module with processor, memory and accelerator begins."""


def total(quantities: Sequence[Quantity]) -> Quantity:
    """Sum over disjoint parts of the machine in the same time.

    y = sum x_i, random u(y)^2 = sum u(x_i)^2, systematic u(y) = sum u(x_i). Lost time and coverage are those of the
    worst part. Raises ``ValueError`` for no quantity, mixed kinds or units, and parts that overlap.

    >>> from joulemark.record import Kind
    >>> def joules(value, scope):
    ...     kept = {"unit": "J", "kind": Kind.MEASURED, "method": "energy counter", "source": "an example"}
    ...     return Quantity(value=value, scope=scope, random=value / 10, **kept)
    >>> whole = total([joules(30.0, "package-0"), joules(40.0, "board")])
    >>> whole.value, whole.scope, whole.random
    (70.0, 'package-0 + board', 5.0)
    """
    _alike(quantities, "add")
    for one, other in itertools.combinations(quantities, 2):
        if _overlap(one, other):
            raise ValueError(f"cannot add {one.scope!r} and {other.scope!r}: they overlap and would be counted twice")
    known = all(q.paths for q in quantities)
    whole = _sum(quantities)
    return msgspec.structs.replace(
        whole,
        scope=_joined((q.scope for q in quantities), " + "),
        paths=tuple(path for q in quantities for path in q.paths) if known else (),
    )


def accumulated(windows: Sequence[Quantity]) -> Quantity:
    """Sum over windows one after another, all of one scope; uncertainties as in :func:`total`.

    Lost times add; the coverage stated is that of the worst window, which the whole has at least. Raises ``ValueError``
    for no window, and for mixed kinds, units or scopes.
    """
    _alike(windows, "add")
    _same_scope(windows, "add up windows of")
    lost = _of_known((q.lost_seconds for q in windows), math.fsum)
    return msgspec.structs.replace(_sum(windows), lost_seconds=lost, count=sum(q.count or 1 for q in windows))


def difference(a: Quantity, b: Quantity) -> Quantity:
    """``a`` less ``b``, both of one scope (gross less idle); may be negative and is then told as it is.

    y = a - b, random u(y)^2 = u(a)^2 + u(b)^2. A shared gain g makes u(y) = g |a - b|, others u(a) + u(b). Raises
    ``ValueError`` for mixed kinds, units or scopes.
    """
    _alike((a, b), "subtract")
    _same_scope((a, b), "subtract")
    if a.value is None or b.value is None:
        return _unknown((a, b))
    parts = _both(a.systematic, b.systematic)
    systematic = None
    if parts is not None and _shared_gain(a, b):
        systematic = abs(math.copysign(parts[0], a.value) - math.copysign(parts[1], b.value))
    elif parts is not None:
        systematic = sum(parts)
    return _made((a, b), a.value - b.value, random=_of_known((a.random, b.random), _quadrature), systematic=systematic)


def ratio(a: Quantity, b: Quantity) -> Quantity:
    """``a`` over ``b``, a pure number (unit "1") whose scope is "``a`` / ``b``" if the two are not of one scope.

    y = a / b, random u(y)^2 = (u(a) / b)^2 + (a u(b) / b^2)^2. A shared gain multiplies both and cancels: systematic is
    then 0 exactly, even where nobody knows how large the gain's uncertainty is. With other gains it is
    u(a) / |b| + |a| u(b) / b^2. Unknown if ``b`` is 0. Raises ``ValueError`` for mixed kinds or units.
    """
    _alike((a, b), "divide")
    if b.value == 0:
        return _made((a, b), None, unit="1", reason=f"{b.scope}: nothing can be divided by 0 {b.unit}")
    if a.value is None or b.value is None:
        return msgspec.structs.replace(_unknown((a, b)), unit="1")
    weights = abs(1.0 / b.value), abs(a.value / b.value / b.value)
    random, systematic = (
        [part * weight for part, weight in zip(parts, weights, strict=True)] if parts is not None else None
        for parts in (_both(a.random, b.random), _both(a.systematic, b.systematic))
    )
    shared = _shared_gain(a, b)
    made = _made(
        (a, b),
        a.value / b.value,
        unit="1",
        random=None if random is None else math.hypot(*random),
        systematic=0.0 if shared else None if systematic is None else sum(systematic),
    )
    return msgspec.structs.replace(made, gain=None)


def scaled(quantity: Quantity, factor: float, *, unit: str | None = None) -> Quantity:
    """``quantity`` times an exact number, in ``unit`` if the number has one (joules / inputs: "J/input").

    Value, both uncertainties and the interval scale alike. Raises ``ValueError`` if ``factor`` is not finite.
    """
    if not math.isfinite(factor):
        raise ValueError(f"cannot scale {quantity.scope!r} by {factor}")
    ends = [None if end is None else end * factor for end in (quantity.low, quantity.high)]
    low, high = ends if factor >= 0 else ends[::-1]
    return msgspec.structs.replace(
        quantity,
        value=None if quantity.value is None else quantity.value * factor,
        unit=quantity.unit if unit is None else unit,
        low=low,
        high=high,
        random=None if quantity.random is None else quantity.random * abs(factor),
        systematic=None if quantity.systematic is None else quantity.systematic * abs(factor),
    )


def _alike(quantities: Sequence[Quantity], verb: str) -> None:
    """Refuse to mix kinds (measured with modelled) and units."""
    if not quantities:
        raise ValueError(f"there is no quantity to {verb}")
    first = quantities[0]
    for other in quantities[1:]:
        if other.kind is not first.kind:
            raise ValueError(f"cannot {verb} a {first.kind} and a {other.kind} quantity: they are never mixed")
        if other.unit != first.unit:
            raise ValueError(f"cannot {verb} quantities in {first.unit!r} and in {other.unit!r}")


def _same_scope(quantities: Sequence[Quantity], verb: str) -> None:
    for other in quantities[1:]:
        if not _covers_the_same(quantities[0], other):
            raise ValueError(f"cannot {verb} {quantities[0].scope!r} and {other.scope!r}: they cover different parts")


def _covers_the_same(a: Quantity, b: Quantity) -> bool:
    return set(a.paths) == set(b.paths) if a.paths and b.paths else a.scope == b.scope


def _overlap(a: Quantity, b: Quantity) -> bool:
    """Whether a joule could be in both; by the words if paths are not known."""
    if a.paths and b.paths:
        return any(_paths_overlap(one, other) for one in a.paths for other in b.paths)
    return any(
        f"{one} ".startswith(f"{other} ") or f"{other} ".startswith(f"{one} ")  # "processor package-0 core" is inside
        for one in a.scope.split(" + ")
        for other in b.scope.split(" + ")
    )


def _paths_overlap(one: str, other: str) -> bool:
    """Whether one path is or contains the other. A module holds boards and processors; which ones, no path tells."""
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        return True
    return one.startswith(MODULE) != other.startswith(MODULE)


def _shared_gain(a: Quantity, b: Quantity) -> bool:
    return a.gain is not None and a.gain == b.gain


def _sum(quantities: Sequence[Quantity]) -> Quantity:
    """The sum with its uncertainties; scope and paths are those of the first."""
    values = [q.value for q in quantities if q.value is not None]
    if len(values) < len(quantities):
        least = _of_known((q.low if q.value is None else q.value for q in quantities), math.fsum)
        most = _of_known((q.high if q.value is None else q.value for q in quantities), math.fsum)
        return msgspec.structs.replace(_unknown(quantities), low=least, high=most)
    return _made(
        quantities,
        math.fsum(values),
        random=_of_known((q.random for q in quantities), _quadrature),
        systematic=_of_known((q.systematic for q in quantities), math.fsum),
    )


def _unknown(quantities: Sequence[Quantity]) -> Quantity:
    reasons = (q.reason or f"{q.scope} is unknown" for q in quantities if q.value is None)
    return _made(quantities, None, reason=_joined(reasons, "; "))


def _made(
    quantities: Sequence[Quantity],
    value: float | None,
    *,
    unit: str | None = None,
    random: float | None = None,
    systematic: float | None = None,
    reason: str | None = None,
) -> Quantity:
    """A quantity made of others: what they share, their joined histories and flags, and the worst of their losses."""
    first = quantities[0]
    same = all(_covers_the_same(first, other) for other in quantities[1:])
    return Quantity(
        value=value,
        unit=first.unit if unit is None else unit,
        kind=first.kind,
        method=_joined((q.method for q in quantities), "; "),
        scope=first.scope if same else " / ".join(q.scope for q in quantities),
        source=_joined((q.source for q in quantities), "; "),
        random=random,
        systematic=systematic,
        flags=tuple(dict.fromkeys(flag for q in quantities for flag in q.flags)),
        reason=reason,
        paths=first.paths if same else (),
        gain=first.gain if all(q.gain == first.gain for q in quantities) else None,
        lost_seconds=_of_known((q.lost_seconds for q in quantities), max),
        coverage=_of_known((q.coverage for q in quantities), min),
    )


def _joined(texts: Iterable[str], separator: str) -> str:
    """Texts in order, each once, also those that were joined before."""
    return separator.join(dict.fromkeys(part for text in texts for part in text.split(separator) if part))


def _both(a: float | None, b: float | None) -> tuple[float, float] | None:
    return None if a is None or b is None else (a, b)


def _of_known(parts: Iterable[float | None], combine: Callable[[list[float]], float]) -> float | None:
    """``combine`` of all parts; unknown if one of them is."""
    listed = list(parts)
    known = [part for part in listed if part is not None]
    return combine(known) if known and len(known) == len(listed) else None


def _quadrature(parts: Sequence[float]) -> float:
    return math.hypot(*parts)
