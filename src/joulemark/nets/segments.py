"""Dynamic depth: segments, routers, and running only the rows that are still there.

A segment maps a carry (a dict of row-first tensors) to ``(carry', logits or None, next)``. ``next`` is an int64 tensor
with one entry a row: the index of the segment to go to, or ``EXIT``. The router that computes it is part of the
segment, so it is exported, timed and counted with it; it sees carry and logits, never labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.record import Record, unknown_name

EXIT = -1
Carry = dict[str, Tensor]
Array = TypeVar("Array")


class Exit(Record, frozen=True, kw_only=True):
    """A place where rows may leave: after a stage of the net (or a part of a cascade)."""

    after: str  # child of the module, or name of the part
    router: str  # name in ROUTERS
    threshold: float
    features: int | None = None  # inputs of the linear head; None: the part's own output is the logits
    classes: int | None = None


class Route(Record, frozen=True, kw_only=True):
    """How rows travel: ``exits`` along the stages of one net, or a ``cascade`` over its parts, in the order given."""

    kind: str  # "exits" or "cascade"
    exits: tuple[Exit, ...]
    order: tuple[str, ...] = ()  # cascade: names of the parts, cheapest first; the last one answers the rest


def exactly_one(logits: Tensor, threshold: float) -> Tensor:
    """Leave iff exactly one output reaches the threshold (Panda et al. 2016, activation module)."""
    return (logits >= threshold).sum(1) == 1


ROUTERS: dict[str, Callable[[Tensor, float], Tensor]] = {"exactly-one": exactly_one}


class Segment(nn.Module):
    """Some stages, an optional head and router; the last segment has no router and every row leaves it."""

    def __init__(self, stages: Sequence[nn.Module], *, head: nn.Module | None, exit: Exit | None, here: int) -> None:
        super().__init__()
        self.stages, self.head = nn.Sequential(*stages), head
        self.exit, self.here = exit, here

    def forward(self, carry: Carry) -> tuple[Carry, Tensor, Tensor]:
        """Compute the stages, the logits of this exit and where each row goes."""
        features = self.stages(carry["features"])
        logits = features if self.head is None else self.head(features)
        if self.exit is None:
            return carry, logits, torch.full_like(logits[:, 0], EXIT, dtype=torch.int64)
        leave = ROUTERS[self.exit.router](logits, self.exit.threshold)
        next_segment = torch.where(leave, EXIT, self.here + 1)
        # A stage hands its features on; a part of a cascade hands on the input it was given.
        return (carry if self.head is None else {"features": features}), logits, next_segment


class Segments(nn.Module):
    """A net with exits. ``run`` sends only the remaining rows on; ``forward_all`` is static and gives every exit.

    ``children`` are the stages (or parts) by name, kept under their own names so that module paths stay stable.
    """

    def __init__(self, children: dict[str, nn.Module], route: Route) -> None:
        super().__init__()
        _check(route, list(children))
        for name, child in children.items():
            self.add_module(name, child)
        heads = {e.after: nn.Linear(e.features, e.classes or 0) for e in route.exits if e.features is not None}
        self.exits = nn.ModuleDict({name: nn.Sequential(nn.Flatten(), head) for name, head in heads.items()})
        self.route = route
        self.stage_names = list(children)

    def segments(self) -> list[Segment]:
        """The segments in order, sharing this net's parameters."""
        exits = {e.after: e for e in self.route.exits}
        made: list[Segment] = []
        stages: list[nn.Module] = []
        for position, name in enumerate(self.stage_names):
            stages.append(self.get_submodule(name))
            last = position == len(self.stage_names) - 1
            if last or name in exits:
                head = self.exits[name] if name in self.exits else None  # noqa: SIM401  (no .get here)
                made.append(Segment(stages, head=head, exit=None if last else exits[name], here=len(made)))
                stages = []
        return made

    def forward_all(self, x: Tensor) -> list[Tensor]:
        """Logits of every exit for every row: one static graph, for training heads and choosing thresholds."""
        carry, outputs = {"features": x}, []
        for segment in self.segments():
            carry, logits, _ = segment(carry)
            outputs.append(logits)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the last exit: the net without early exits."""
        return self.forward_all(x)[-1]

    def run(self, x: Tensor) -> Tensor:
        """Logits of the exit each row takes; rows that left are not computed further."""
        segments = self.segments()

        def step(index: int, carry: Carry) -> tuple[Carry, Tensor, NDArray[np.int64]]:
            carry, logits, onward = segments[index](carry)
            return carry, logits, onward.numpy()

        pieces = travel(step, {"features": x}, rows=len(x), take=take_tensor, join=torch.cat)
        output = torch.empty(len(x), *pieces[0][1].shape[1:], dtype=pieces[0][1].dtype)
        for rows, logits in pieces:
            output[torch.from_numpy(rows)] = logits
        return output


def _check(route: Route, names: Sequence[str]) -> None:
    """``ValueError`` in one sentence if rows cannot travel so through stages of these names."""
    after = [e.after for e in route.exits]
    if route.kind not in {"exits", "cascade"}:
        raise ValueError(f"a route is 'exits' or 'cascade', not {route.kind!r}")
    if "exits" in names:
        raise ValueError("a net with exits cannot have a stage that is called 'exits': their heads are called so")
    if len(set(after)) != len(after) or not set(after) <= set(names[:-1]):
        raise ValueError(f"exits stand after {after}, but need different stages of {list(names[:-1])}")
    for e in route.exits:
        if e.router not in ROUTERS:
            raise ValueError(unknown_name("router", e.router, ROUTERS))
        if (e.features is None) != (e.classes is None) or (e.features is None) != (route.kind == "cascade"):
            raise ValueError(f"the exit after {e.after!r} needs features and classes along stages, neither over parts")


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
) -> list[tuple[NDArray[np.int64], Any]]:
    """Send ``rows`` rows through the segments and return ``(row numbers, logits)`` of those that left together.

    ``step(i, carry)`` computes segment i. Segments are visited in ascending order; a row may jump forward, never back,
    and rows that meet at a segment are joined. Arrays may be of any kind: ``take(array, row_numbers)`` and
    ``join(arrays)`` are how rows are gathered and stacked. Raises ``RuntimeError`` if a router sends a row back.
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
        if not len(numbers):  # an empty batch has the logits of the first exit: none
            left.append((numbers, logits))
        for target in np.unique(onward):
            chosen = np.flatnonzero(onward == target)
            everyone = len(chosen) == len(numbers)  # nobody parts: no copy
            if target == EXIT:
                left.append((numbers[chosen], logits if everyone else take(logits, chosen)))
            elif target <= here:
                raise RuntimeError(f"the router of segment {here} sent rows back to segment {target}")
            else:
                going = carry if everyone else {key: take(value, chosen) for key, value in carry.items()}
                waiting.setdefault(int(target), []).append((going, numbers[chosen]))
    return left
