"""Dynamic depth: segments, and running only the rows that are still there.

A segment maps a carry (a dict of row-first tensors) to ``(carry', logits or None, next)``. ``next`` is an int64 tensor
with one entry a row: the index of the segment to go to, or ``EXIT``. The router that computes it (see
:mod:`joulemark.nets.routers.router`) is part of the segment, so it is exported, timed and counted with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.nets.header import Exit, Route
from joulemark.nets.routers.router import Carry, Router, router

EXIT = -1
NOWHERE = -(1 << 40)
"""Where a router of a part sends rows that it may not send: beyond the segments of its part."""
LARGEST_HEAD = 10**7


class CarryStage(nn.Module):
    """A stage that maps the whole carry to the carry after it; any other stage maps ``features`` alone."""

    def forward(self, carry: Carry) -> Carry:
        """The carry that the next stages and the router see."""
        raise NotImplementedError(f"{type(self).__name__} is a carry stage without forward: map a carry to the next")


class Segment(nn.Module):
    """Some stages, or one part of a cascade, with an optional head and router; without a router every row leaves.

    ``starts`` gives the number of the segment that each stage or part begins with, for a router that counts those.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        *,
        head: nn.Module | None,
        router: Router | None,
        after: int,
        starts: Sequence[int],
        part: bool,
    ) -> None:
        super().__init__()
        self.stages, self.head, self.router = nn.ModuleList(stages), head, router
        self.after, self.starts, self.part = after, starts, part
        self.answers = head is not None or router is None or part  # a stage without a head has no logits
        self.depth = 0

    def forward(self, carry: Carry) -> tuple[Carry, Tensor | None, Tensor]:
        """Compute the stages, the logits of this exit if it has any, and where each row goes."""
        after = carry
        for stage in self.stages:
            after = stage(after) if isinstance(stage, CarryStage) else {**after, "features": stage(after["features"])}
        answer = after["features"] if self.head is None else self.head(after["features"])
        if self.router is None:
            return carry, answer, torch.full_like(answer[:, 0], EXIT, dtype=torch.int64)
        if self.part:
            after = carry  # a part of a cascade hands on the input that it was given
        logits = answer if self.answers else None
        return after, logits, _decided(self.router, after, logits, self.after, self.starts)

    def handed(self, carry: dict[str, Any], target: int) -> dict[str, Any]:
        """What rows that go on to the segment ``target`` take with them: all of the carry."""
        return carry


class InnerSegment(nn.Module):
    """A segment of a part that has segments of its own. What the part was given travels along, beside its own carry.

    A row that leaves the part is answered by the exit that it took there. The router behind the part then sends it out
    or on, and whoever comes next reads what the part was given.
    """

    def __init__(
        self,
        inner: Segment | InnerSegment,
        *,
        router: Router | None,
        first: int,  # number of the part's first segment
        here: int,
        after: int,
        starts: Sequence[int],
        depth: int,  # how many parts it lies in
    ) -> None:
        super().__init__()
        self.inner, self.router, self.first, self.here, self.after = inner, router, first, here, after
        self.starts, self.depth = starts, depth
        self.answers: bool = inner.answers
        self.mark = f"given{depth}/"  # begins the names of what the part was given

    def forward(self, carry: Carry) -> tuple[Carry, Tensor | None, Tensor]:
        """As of any segment."""
        given, mine = (carry, carry) if self.here == self.first else self._parted(carry)
        mine, logits, onward = self.inner(mine)
        within = torch.where(onward + self.first < self.after, onward + self.first, NOWHERE)
        onward = torch.where(onward == EXIT, EXIT, within)
        if self.router is not None and logits is not None:
            beyond = _decided(self.router, given, logits, self.after, self.starts)
            onward = torch.where(onward == EXIT, beyond, onward)
        return self._joined(given, mine), logits, onward

    def handed(self, carry: dict[str, Any], target: int) -> dict[str, Any]:
        """Within the part all that the inner segment hands on; beyond it what the part was given."""
        given, mine = self._parted(carry)
        if target >= self.after:
            return given
        return self._joined(given, self.inner.handed(mine, target - self.first))

    def _parted(self, carry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        given = {key.removeprefix(self.mark): value for key, value in carry.items() if key.startswith(self.mark)}
        return given, {key: value for key, value in carry.items() if not key.startswith(self.mark)}

    def _joined(self, given: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
        return {**mine, **{f"{self.mark}{key}": value for key, value in given.items()}}


def _decided(router: Router, carry: Carry, logits: Tensor | None, after: int, starts: Sequence[int]) -> Tensor:
    """Number of the segment that each row goes to, or ``EXIT``."""
    onward: Tensor = router(carry, logits)
    if onward.dtype not in (torch.bool, torch.int64):
        raise ValueError(f"{type(router).__name__} sends rows by {onward.dtype}: by booleans or int64")
    if onward.dtype == torch.bool:
        return torch.where(onward, after, EXIT)
    if list(starts) == list(range(len(starts))):
        return onward
    return torch.where(onward == EXIT, EXIT, torch.tensor(starts)[onward.clamp(min=0)])


class Segments(nn.Module):
    """A net with exits. ``run`` sends only the remaining rows on; ``forward_all`` is static and gives every exit.

    ``children`` are the stages (or parts) by name, kept under their own names so that module paths stay stable.
    """

    def __init__(self, children: dict[str, nn.Module], route: Route) -> None:
        super().__init__()
        _check(route, list(children))
        for name, child in children.items():
            if not name or "." in name or hasattr(self, name) or name in {"route", "stage_names"}:
                raise ValueError(f"a stage or part of a route cannot be called {name!r:.80}: give it another name")
            self.add_module(name, child)
        heads = {e.after: nn.Linear(e.features, e.classes or 0) for e in route.exits if e.features is not None}
        self.exits = nn.ModuleDict({name: nn.Sequential(nn.Flatten(), head) for name, head in heads.items()})
        self.routers = nn.ModuleDict({e.after: _router(e, route.kind) for e in route.exits})
        self.route = route
        self.stage_names = list(children)

    def segments(self) -> list[Segment | InnerSegment]:
        """The segments in order, sharing this net's parameters; a part that has segments gives all of its own."""
        heads: dict[str, Any] = dict(self.exits.items())
        routers: dict[str, Any] = dict(self.routers.items())
        groups: list[list[str]] = [[]]  # names of the stages of each segment
        for name in self.stage_names:
            groups[-1].append(name)
            if name in routers:
                groups.append([])
        inside = [self._inside(group) for group in groups]
        starts = [0, *itertools.accumulate(max(len(segments), 1) for segments in inside)]
        made: list[Segment | InnerSegment] = []
        for number, (group, segments) in enumerate(zip(groups, inside, strict=True)):
            way: Any = {"router": routers.get(group[-1]), "after": starts[number + 1], "starts": starts[:-1]}
            depth = 1 + max((one.depth for one in segments), default=0)
            made += [
                InnerSegment(one, first=starts[number], here=starts[number] + place, depth=depth, **way)
                for place, one in enumerate(segments)
            ]
            if not segments:
                stages = [self.get_submodule(name) for name in group]
                made.append(Segment(stages, head=heads.get(group[-1]), part=self.route.kind == "cascade", **way))
        return made

    def _inside(self, group: Sequence[str]) -> list[Segment | InnerSegment]:
        """The segments of a part that has some."""
        part = self.get_submodule(group[0])
        return part.segments() if self.route.kind == "cascade" and isinstance(part, Segments) else []

    def forward_all(self, x: Tensor) -> list[Tensor]:
        """Logits of every exit that has some, for every row: one static graph through all segments.

        For training heads and choosing thresholds.
        """
        carry, outputs = {"features": x}, []
        for number, segment in enumerate(self.segments(), start=1):
            carry, logits, _ = segment(carry)
            carry = segment.handed(carry, number)
            if logits is not None:
                outputs.append(logits)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the last exit: the net without early exits."""
        return self.forward_all(x)[-1]

    def run(self, x: Tensor) -> Tensor:
        """Logits of the exit each row takes; rows that left are not computed further."""
        return self.ready()(x)

    def ready(self) -> Callable[[Tensor], Tensor]:
        """``run`` with the segments of now, found once: for who runs many batches."""
        segments = self.segments()

        def step(index: int, carry: Carry) -> tuple[Carry, Tensor | None, NDArray[np.int64]]:
            carry, logits, onward = segments[index](carry)
            return carry, logits, onward.numpy()

        def run(x: Tensor) -> Tensor:
            carry = {"features": x}
            pieces = travel(
                step,
                carry,
                rows=len(x),
                take=take_tensor,
                join=torch.cat,
                hand=hand_on(segments),
                segments=len(segments),
            )
            output = torch.empty(len(x), *pieces[0][1].shape[1:], dtype=pieces[0][1].dtype)
            for rows, logits in pieces:
                output[torch.from_numpy(rows)] = logits
            return output

        return run


def _router(exit: Exit, kind: str) -> Router:
    made = router(exit.router, exit.threshold, {} if exit.options is msgspec.UNSET else exit.options)
    if made.needs_logits and exit.features is None and kind == "exits":
        raise ValueError(
            f"the router {exit.router} needs logits, so its exit {exit.after!r} needs features and classes"
        )
    return made


def _check(route: Route, names: Sequence[str]) -> None:
    """``ValueError`` in one sentence if rows cannot travel so through stages of these names."""
    after = [e.after for e in route.exits]
    if route.kind not in {"exits", "cascade"}:
        raise ValueError(f"a route is 'exits' or 'cascade', not {route.kind!r}")
    for name in {"exits", "routers"} & set(names):
        raise ValueError(f"a net with exits cannot have a stage that is called {name!r}: heads and routers stand there")
    if len(set(after)) != len(after) or not set(after) <= set(names[:-1]):
        raise ValueError(f"exits stand after {after}, but need different stages of {list(names[:-1])}")
    for e in route.exits:
        if not all(size is None or 1 <= size <= LARGEST_HEAD for size in (e.features, e.classes)):
            raise ValueError(f"the exit after {e.after!r} has {e.features} features and {e.classes} classes: 1 or more")
        if (e.features is None) != (e.classes is None) or (e.features is not None and route.kind == "cascade"):
            raise ValueError(f"the exit after {e.after!r} needs features and classes, or neither; neither over parts")


def hand_on(
    segments: Sequence[Segment | InnerSegment],
) -> Callable[[int, int, dict[str, Any]], dict[str, Any]]:
    """How these segments hand their carry on, for :func:`travel`."""
    return lambda here, target, carry: segments[here].handed(carry, target)


def take_tensor(tensor: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """The given rows of a tensor."""
    return tensor.index_select(0, torch.from_numpy(rows))


def travel(
    step: Callable[[int, dict[str, Any]], tuple[dict[str, Any], Any, NDArray[np.int64]]],
    carry: dict[str, Any],
    *,
    rows: int,
    take: Callable[[Any, NDArray[np.int64]], Any],
    join: Callable[[list[Any]], Any],
    hand: Callable[[int, int, dict[str, Any]], dict[str, Any]] = lambda here, target, carry: carry,
    segments: int | None = None,
) -> list[tuple[NDArray[np.int64], Any]]:
    """Send ``rows`` rows through the segments and return ``(row numbers, logits)`` of those that left together.

    ``step(i, carry)`` computes segment i, and ``hand(i, target, carry)`` is what rows take along from there. Segments
    are visited in ascending order; a row may jump forward, never back, and rows that meet at a segment are joined.
    Arrays may be of any kind: ``take(array, row_numbers)`` and ``join(arrays)`` are how rows are gathered and stacked.
    Raises ``RuntimeError`` if a router sends a row back, beyond the ``segments`` that there are, or out of a segment
    that has no logits.
    """
    waiting: dict[int, list[tuple[dict[str, Any], NDArray[np.int64]]]] = {0: [(carry, np.arange(rows))]}
    left: list[tuple[NDArray[np.int64], Any]] = []
    while waiting:
        here = min(waiting)
        arrived = waiting.pop(here)
        if len(arrived) == 1:
            carry, numbers = arrived[0]
        else:
            carry = {key: join([one[key] for one, _ in arrived]) for key in arrived[0][0]}
            numbers = np.concatenate([part for _, part in arrived])
        carry, logits, onward = step(here, carry)
        if not len(numbers):  # an empty batch has the logits of the first exit that has some: none
            if logits is None:
                waiting[here + 1] = [(hand(here, here + 1, carry), numbers)]
            else:
                left.append((numbers, logits))
        for target in np.unique(onward):
            chosen = np.flatnonzero(onward == target)
            everyone = len(chosen) == len(numbers)  # nobody parts: no copy
            if target == EXIT:
                if logits is None:
                    raise RuntimeError(f"the router of segment {here} let rows leave, but the segment has no logits")
                left.append((numbers[chosen], logits if everyone else take(logits, chosen)))
            elif target == NOWHERE or (segments is not None and target >= segments):
                raise RuntimeError(f"the router of segment {here} sent rows to a segment that its net does not have")
            elif target <= here:
                raise RuntimeError(f"the router of segment {here} sent rows back to segment {target}")
            else:
                handed = hand(here, int(target), carry)
                going = handed if everyone else {key: take(value, chosen) for key, value in handed.items()}
                waiting.setdefault(int(target), []).append((going, numbers[chosen]))
    return left
