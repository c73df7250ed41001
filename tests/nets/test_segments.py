"""Dynamic depth: rows that jump and rejoin, and the exit that each row takes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.header import Exit, Route
from joulemark.nets.routers.exactly_one import exactly_one
from joulemark.nets.routers.router import Router
from joulemark.nets.segments import EXIT, CarryStage, Segment, Segments, travel
from joulemark.vocabulary import TABLES, look_up


def going(plan: dict[int, np.ndarray]):
    """A step over rows that carry their own number: where each goes is ``plan[segment][number]``."""
    visits: list[tuple[int, list[int]]] = []

    def step(index, carry):
        visits.append((index, carry["number"].tolist()))
        return {"number": carry["number"]}, carry["number"] * 10 + index, plan[index][carry["number"]]

    return step, visits


def send(plan: dict[int, list[int]], rows: int):
    step, visits = going({index: np.array(targets, dtype=np.int64) for index, targets in plan.items()})
    pieces = travel(
        step, {"number": np.arange(rows)}, rows=rows, take=lambda a, rows: a[rows], join=np.concatenate
    )  # fmt: skip
    return {int(r): int(v) for numbers, logits in pieces for r, v in zip(numbers, logits, strict=True)}, visits, pieces


def test_rows_that_jump_and_rejoin():
    # Rows 0 and 3 jump to segment 2; 1 and 2 go to 1, where 2 leaves; 0, 3 and 1 meet in 2; 3 goes on to 3 alone.
    plan = {0: [2, 1, 1, 2], 1: [9, 2, EXIT, 9], 2: [EXIT, EXIT, 9, 3], 3: [9, 9, 9, EXIT]}
    found, visits, _ = send(plan, 4)
    assert found == {0: 2, 1: 12, 2: 21, 3: 33}
    assert [(index, sorted(rows)) for index, rows in visits] == [
        (0, [0, 1, 2, 3]),
        (1, [1, 2]),
        (2, [0, 1, 3]),
        (3, [3]),
    ]


@settings(max_examples=80)
@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_any_forward_route_gives_each_row_the_logits_of_its_own_path(rows, segments, data):
    plan = {
        i: [data.draw(st.sampled_from([EXIT, *range(i + 1, segments)])) for _ in range(rows)] for i in range(segments)
    }
    found, visits, _ = send(plan, rows)
    expected, reach = {}, {i: set() for i in range(segments)}
    for row in range(rows):
        here = 0
        while True:
            reach[here].add(row)
            onward = plan[here][row]
            if onward == EXIT:
                break
            here = onward
        expected[row] = row * 10 + here
    assert found == expected
    assert {index: set(found_rows) for index, found_rows in visits} == {i: r for i, r in reach.items() if r}
    assert [index for index, _ in visits] == sorted({index for index, _ in visits})  # each visited once, in order


@pytest.mark.parametrize("target", [0, 1, -2])
def test_a_row_that_is_sent_back_is_refused(target):
    with pytest.raises(RuntimeError, match=f"segment 1 sent rows back to segment {target}"):
        send({0: [1, 1], 1: [EXIT, target]}, 2)


def test_an_empty_batch_has_empty_logits():
    found, visits, pieces = send({0: []}, 0)
    assert found == {}
    assert visits == [(0, [])]
    assert len(pieces) == 1


def test_nothing_is_copied_while_rows_stay_together():
    carry = {"x": np.arange(3)}

    def step(index, given_carry):
        assert given_carry["x"] is carry["x"]
        return given_carry, logits, np.full(3, EXIT if index == 2 else index + 1)

    logits = np.zeros((3, 2))

    def never(*_):
        raise AssertionError("copied")

    ((rows, out),) = travel(step, carry, rows=3, take=never, join=never)
    assert out is logits
    assert rows.tolist() == [0, 1, 2]


def three_exits(thresholds: tuple[float, float], seed: int = 0) -> Segments:
    torch.manual_seed(seed)
    stages = {
        "a": nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()),
        "b": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        "c": nn.Sequential(nn.Flatten(), nn.Linear(16, 5)),
    }
    exits = tuple(
        Exit(after=name, router="exactly-one", threshold=t, features=f, classes=5)
        for name, t, f in zip("ab", thresholds, (48, 16), strict=True)
    )
    return Segments(stages, Route(kind="exits", exits=exits)).eval()


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 12), st.integers(0, 3))
def test_run_equals_forward_all_picked_by_the_exit_each_row_takes(first, second, rows, seed):
    net = three_exits((first, second), seed)
    x = torch.randn(rows, 1, 6, 6)
    with torch.no_grad():
        found, (a, b, c) = net.run(x), net.forward_all(x)
    for row in range(rows):
        if sum(value >= first for value in a[row].tolist()) == 1:
            expected = a
        else:
            expected = b if sum(value >= second for value in b[row].tolist()) == 1 else c
        torch.testing.assert_close(found[row], expected[row])
    assert found.shape == (rows, 5)


def test_rows_that_left_are_not_computed_further():
    net = three_exits((0.1, 0.1))
    seen = {}
    for name in "abc":
        net.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: seen.update({name: len(x[0])}))
    x = torch.randn(50, 1, 6, 6)
    with torch.no_grad():
        net.run(x)
        ran = dict(seen)
        a, b, _ = net.forward_all(x)
    stays = ~exactly_one(a, 0.1)
    assert ran == {"a": 50, "b": int(stays.sum()), "c": int((stays & ~exactly_one(b, 0.1)).sum())}
    assert 50 > ran["b"] > ran["c"] > 0


def test_forward_is_the_last_exit():
    net, x = three_exits((0.0, 0.0)), torch.randn(3, 1, 6, 6)
    assert torch.equal(net(x), net.forward_all(x)[-1])
    assert torch.equal(net(x), net.c(net.b(net.a(x))))


def test_exactly_one_by_hand():
    logits = torch.tensor([[0.5, 0.4], [0.5, 0.5], [0.1, 0.2], [0.6, -1.0]])
    assert exactly_one(logits, 0.5).tolist() == [True, False, False, True]


def test_labels_cannot_enter():
    for router in (Router, *(look_up("router", name) for name in TABLES["router"])):
        assert list(inspect.signature(router.forward).parameters) == ["self", "carry", "logits"]
    assert list(inspect.signature(Segments.run).parameters) == ["self", "x"]
    assert list(inspect.signature(Segment.forward).parameters) == ["self", "carry"]


def test_a_row_goes_the_same_way_whoever_is_beside_it():
    net, x = three_exits((0.1, 0.1)), torch.randn(30, 1, 6, 6)
    with torch.no_grad():
        together = net.run(x)
        alone = torch.cat([net.run(row) for row in x.split(1)])
        order = torch.randperm(30)
        torch.testing.assert_close(net.run(x[order]), together[order])
    torch.testing.assert_close(alone, together)


def exit_after(name: str, **changes) -> Exit:
    return Exit(**{"after": name, "router": "exactly-one", "threshold": 0.5, "features": 48, "classes": 5, **changes})


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (Route(kind="loop", exits=()), "a route is 'exits' or 'cascade', not 'loop'"),
        (Route(kind="exits", exits=(exit_after("z"),)), "need different stages of"),
        (Route(kind="exits", exits=(exit_after("c"),)), "need different stages of"),
        (Route(kind="exits", exits=(exit_after("a"), exit_after("a"))), "need different stages of"),
        (Route(kind="exits", exits=(exit_after("a", router="exactly-two"),)), "unknown router 'exactly-two': did you"),
        (Route(kind="exits", exits=(exit_after("a", features=None, classes=None),)), "router exactly-one needs logits"),
        (
            Route(kind="exits", exits=(exit_after("a", options={"share": 1}),)),
            "'exactly-one' does not take {'share': 1}",
        ),
        (Route(kind="exits", exits=(exit_after("a", classes=None),)), "needs features and classes"),
        (Route(kind="cascade", exits=(exit_after("a"),)), "neither over parts"),
    ],
)
def test_routes_that_cannot_be_travelled_are_refused(route, why):
    with pytest.raises(ValueError, match=why):
        Segments({name: nn.Flatten() for name in "abc"}, route)


@pytest.mark.parametrize("name", ["exits", "routers"])
def test_a_stage_called_as_heads_or_routers_is_refused(name):
    with pytest.raises(ValueError, match=f"cannot have a stage that is called '{name}'"):
        Segments({name: nn.Flatten(), "b": nn.Flatten()}, Route(kind="exits", exits=()))


class Count(CarryStage):
    """Notes how large each row is."""

    def forward(self, carry):
        return {**carry, "size": carry["features"].abs().sum(1)}


class Sized(Router):
    """Small rows skip the next segment, large ones do not; a bias is learned. Says nothing of logits."""

    needs_logits = False

    def __init__(self, threshold: float, *, small: int) -> None:
        super().__init__()
        self.threshold, self.small = threshold, small
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, carry, logits):
        assert logits is None
        return torch.where(carry["size"] + self.bias > self.threshold, 1, self.small)


class Confident(Router):
    """Goes on unless the row is large and one of its logits too."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, carry, logits):
        return (carry["size"] < 4) | (logits.amax(1) < self.threshold)


@pytest.fixture
def skipping(monkeypatch) -> Segments:
    """count -> (small rows: not here) twice -> negate, exit -> plus: linear stages that can be followed by hand."""
    monkeypatch.setitem(TABLES["router"], "sized", f"{__name__}:Sized")
    monkeypatch.setitem(TABLES["router"], "confident", f"{__name__}:Confident")
    stages = {name: nn.Linear(3, 3) for name in ("twice", "negate", "plus")}
    with torch.no_grad():
        for layer, (scale, shift) in zip(stages.values(), ((2, 0), (-1, 0), (1, 100)), strict=True):
            layer.weight.copy_(torch.eye(3) * scale)
            layer.bias.fill_(shift)
    exits = (
        Exit(after="count", router="sized", threshold=3.0, options={"small": 2}),
        Exit(after="twice", router="onward", threshold=0.0),
        Exit(after="negate", router="confident", threshold=5.0, features=3, classes=3),
    )
    net = Segments({"count": Count(), **stages}, Route(kind="exits", exits=exits)).eval()
    with torch.no_grad():
        net.exits["negate"][1].weight.copy_(torch.eye(3))
        net.exits["negate"][1].bias.zero_()
    return net


def test_rows_skip_a_segment_and_leave_by_what_the_carry_says(skipping):
    small, large, leaves = [1.0, -1.0, 0.0], [1.0, 2.0, 1.0], [-3.0, 0.0, -1.0]
    x = torch.tensor([small, leaves, large, small])
    seen = {}
    for name in ("twice", "negate", "plus"):
        skipping.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: seen.update({name: len(x[0])}))
    with torch.no_grad():
        found = skipping.run(x)
    assert seen == {"twice": 2, "negate": 4, "plus": 3}
    expected = [[99.0, 101.0, 100.0], [6.0, 0.0, 2.0], [98.0, 96.0, 98.0], [99.0, 101.0, 100.0]]
    assert found.tolist() == expected
    with torch.no_grad():
        assert torch.cat([skipping.run(row) for row in x.split(1)]).tolist() == expected
        assert skipping.run(x[:0]).shape == (0, 3)


def test_segments_without_logits_are_no_exits(skipping):
    x = torch.ones(2, 3)
    with torch.no_grad():
        outputs = skipping.forward_all(x)
        steps = [segment({"features": x, "size": x[:, 0]}) for segment in skipping.segments()]
    assert [logits is None for _, logits, _ in steps] == [True, True, False, False]
    assert [output[0].tolist() for output in outputs] == [[-2.0] * 3, [98.0] * 3]
    assert torch.equal(skipping(x), outputs[-1])


def test_a_routers_parameters_are_the_nets(skipping):
    assert "routers.count.bias" in skipping.state_dict()
    x = torch.tensor([[1.0, -1.0, 0.0]])
    with torch.no_grad():
        assert skipping.run(x).tolist() == [[99.0, 101.0, 100.0]]
        skipping.routers["count"].bias.fill_(5.0)  # now it is large enough not to skip
        assert skipping.run(x).tolist() == [[98.0, 102.0, 100.0]]


def test_a_row_cannot_leave_where_there_are_no_logits(skipping):
    skipping.routers["count"].small = EXIT
    with pytest.raises(RuntimeError, match="segment 0 let rows leave, but the segment has no logits"):
        skipping.run(torch.zeros(2, 3))


def test_what_is_ready_has_its_segments_once(monkeypatch):
    net, x, made = three_exits((0.1, 0.1)), torch.randn(9, 1, 6, 6), []
    plain = Segments.segments
    monkeypatch.setattr(Segments, "segments", lambda self: made.append(self) or plain(self))
    ready = net.ready()
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(ready(x), net.run(x))
    assert len(made) == 1 + 3


@pytest.mark.parametrize("bare", [Router(), CarryStage()])
def test_what_lacks_forward_says_so(bare):
    with pytest.raises(NotImplementedError, match=f"^{type(bare).__name__} is a .* without forward: "):
        bare(*[{}] * (2 if isinstance(bare, Router) else 1))
