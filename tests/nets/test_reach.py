"""Which channels reach which: by hand for each step between two layers, and as changed channels tell for any net."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everybody writes it)

from joulemark.nets import probe as probe_module
from joulemark.nets.answers import NetFailsError
from joulemark.nets.probe import Axis, tensors_of
from joulemark.nets.reach import Link, Reach, reach

IMAGE = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
MIXED = "mixed"

pytestmark = pytest.mark.usefixtures("one_thread")


class Of(nn.Module):
    """A net of these layers and tensors that does what ``run`` says."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **held: Any) -> None:
        super().__init__()
        self.run = run
        for name, one in held.items():
            if isinstance(one, Tensor) and not isinstance(one, nn.Parameter):
                self.register_buffer(name, one)
            else:
                setattr(self, name, one)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def a(channels: int) -> nn.Conv2d:
    return nn.Conv2d(3, channels, 1)


def b(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 2, 1)


def pairs(found: Reach) -> dict[tuple[str, str], Any]:
    """From and to which axis -> which entry reaches which place."""

    def name(axis: Axis) -> str:
        return f"{axis.layer} {axis.name}"

    told = {}
    for link in found.links:
        assert len(link.entries) == len(link.places) == len(set(zip(link.entries, link.places, strict=True)))
        assert (name(link.source), name(link.reader)) not in told
        told[name(link.source), name(link.reader)] = (
            MIXED if link.mixed else set(zip(link.entries, link.places, strict=True))
        )
    return told


def between(net: nn.Module, source: str = "a outputs", reader: str = "b inputs") -> Any:
    return pairs(reach(net, IMAGE)).get((source, reader))


def same(channels: int, by: int = 0) -> set[tuple[int, int]]:
    return {(channel, channel + by) for channel in range(channels)}


def test_two_layers_by_hand():
    first, second = Axis("a", "outputs", 3), Axis("b", "outputs", 2)
    assert reach(Of(lambda net, x: net.b(net.a(x).relu()), a=a(3), b=b(3)), IMAGE) == Reach(
        (
            Link(first, Axis("b", "inputs", 3), (0, 1, 2), (0, 1, 2), mixed=False),
            Link(second, Axis("0", "answer", 2), (0, 1), (0, 1), mixed=False),
        ),
        frozenset({"a", "b"}),
        frozenset(),
    )


STEPS = {
    "two in turn": (lambda x: torch.cat([x, x], 1), 3, 6, same(3) | same(3, 3)),
    "zeros in front": (lambda x: F.pad(x, (0, 0, 0, 0, 2, 0)), 3, 5, same(3, 2)),
    "other order": (lambda x: x.flip(1), 3, 3, {(0, 2), (1, 1), (2, 0)}),
    "a piece": (lambda x: x[:, 1:], 4, 3, {(1, 0), (2, 1), (3, 2)}),
    "shuffled": (lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2), 6, 6,
                 {(0, 0), (3, 1), (1, 2), (4, 3), (2, 4), (5, 5)}),
    "gated by halves": (lambda x: F.glu(x, 1), 6, 3, same(3) | {(3, 0), (4, 1), (5, 2)}),
    "sum of pairs": (lambda x: x[:, :2] + x[:, 2:], 4, 2, {(0, 0), (2, 0), (1, 1), (3, 1)}),
    "sum of neighbours": (lambda x: F.pad(x, (0, 0, 0, 0, 0, 1)) + F.pad(x, (0, 0, 0, 0, 1, 0)), 3, 4,
                          same(3) | same(3, 1)),
    "gate a channel": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), 3, 3, same(3)),
    "pixels": (lambda x: F.pixel_shuffle(x, 2), 8, 2, {(channel, channel // 4) for channel in range(8)}),
    "pooled": (lambda x: F.avg_pool2d(F.max_pool2d(x, 2), 3), 3, 3, same(3)),
    "in groups": (nn.GroupNorm(2, 6), 6, 6, {(e, p) for e in range(6) for p in range(6) if e // 3 == p // 3}),
    "in one group": (nn.GroupNorm(1, 6), 6, 6, MIXED),
    "less its mean": (lambda x: x - x.mean(1, keepdim=True), 5, 5, MIXED),
    "softmax": (lambda x: x.softmax(1), 5, 5, MIXED),
    "mean and one of them": (lambda x: torch.cat([x[:, :1], x.mean(1, keepdim=True)], 1), 3, 2,
                             {(0, 0), (0, 1), (1, 1), (2, 1)}),
    "numbers that tell of nothing": (torch.ones_like, 3, 3, None),
}  # fmt: skip


@pytest.mark.parametrize(("step", "made", "read", "expected"), STEPS.values(), ids=STEPS)
def test_each_step_by_hand(step, made, read, expected):
    net = Of(lambda net, x: net.b(step(net.a(x))), a=a(made), b=b(read))
    assert between(net) == expected
    assert between(net, "b outputs", "0 answer") == same(2)


def test_a_permutation_and_a_flattening():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(F.adaptive_avg_pool2d(net.a(x), (1, 2)).permute(0, 2, 3, 1).flatten(1))

    net = Of(forward, a=a(3), b=nn.Linear(6, 2))
    assert between(net) == same(3) | same(3, 3)
    assert between(Of(lambda net, x: net.b(net.a(x).flatten(1)), a=a(3), b=nn.Linear(108, 2))) == {
        (place // 36, place) for place in range(108)
    }


def test_a_sum_is_read_from_both_sides_and_the_stream_goes_on():
    net = Of(
        lambda net, x: net.c((y := net.a(x)) + net.b(y)), a=a(3), b=nn.Conv2d(3, 3, 3, padding=1), c=nn.Conv2d(3, 2, 1)
    )
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "b inputs"): same(3),
        ("a outputs", "c inputs"): same(3),
        ("b outputs", "c inputs"): same(3),
        ("c outputs", "0 answer"): same(2),
    }


def test_layers_that_reach_one_place_are_told_apart_beside_one_that_does_not():
    def forward(net: Any, x: Tensor) -> Tensor:
        both = torch.cat([net.a(x), net.second(x)], 1)
        return net.b(both + F.pad(net.third(x).flip(1), (0, 0, 0, 0, 0, 4)))

    found = pairs(reach(Of(forward, a=a(4), second=a(4), third=a(4), b=b(8)), IMAGE))
    assert found["a outputs", "b inputs"] == same(4)
    assert found["second outputs", "b inputs"] == same(4, 4)
    assert found["third outputs", "b inputs"] == {(0, 3), (1, 2), (2, 1), (3, 0)}


def test_what_depends_on_one_of_each_pair_of_digits_counts_as_mixed():
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.a(x)
        return net.c(net.b(y[:, :2] + y[:, 2:].flip(1)))

    net = Of(forward, a=a(4), b=nn.Conv2d(2, 9, 1), c=nn.Conv2d(9, 2, 1))  # those of b are more, and have more digits
    assert between(net) == MIXED
    assert between(net, "b outputs", "c inputs") == same(9)


def test_several_layers_before_norms_of_groups():
    net = Of(
        lambda net, x: net.c(net.n(net.b(net.m(net.a(x))))),
        a=a(6), m=nn.GroupNorm(2, 6), b=nn.Conv2d(6, 4, 1), n=nn.GroupNorm(2, 4), c=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    assert between(net) == {(e, p) for e in range(6) for p in range(6) if e // 3 == p // 3}
    assert between(net, "b outputs", "c inputs") == {(e, p) for e in range(4) for p in range(4) if e // 2 == p // 2}


class Padded(nn.Module):
    """A block whose shortcut pads one channel of zeros in front and two behind."""

    pads_channels, padding = True, (1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Conv2d(3, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(x) + F.pad(x, (0, 0, 0, 0, 1, 2))


def test_what_is_beside_padded_channels_is_told_from_what_is_beside_others():
    net = Of(lambda net, x: net.c(net.block(net.a(x))), a=a(3), block=Padded(), c=nn.Conv2d(6, 2, 1))
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "block.b inputs"): same(3),
        ("a outputs", "c inputs"): same(3, 1),
        ("block.b outputs", "block padding"): {(0, 0), (4, 1), (5, 2)},
        ("block.b outputs", "c inputs"): same(6),
        ("c outputs", "0 answer"): same(2),
    }


def test_a_norm_reads_channels_apart_whatever_it_makes_of_them():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.norm(net.a(x).flatten(2).mT))

    net = Of(forward, a=a(5), norm=nn.LayerNorm(5), b=nn.Linear(5, 2))
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "norm outputs"): same(5),
        ("a outputs", "b inputs"): MIXED,
        ("b outputs", "0 answer"): MIXED,  # by pixels: they are in dimension 1
    }
    groups = Of(lambda net, x: net.b(net.norm(net.a(x))), a=a(6), norm=nn.GroupNorm(3, 6), b=b(6))
    assert between(groups, reader="norm outputs") == same(6)
    assert between(groups) == {(e, p) for e in range(6) for p in range(6) if e // 2 == p // 2}
    assert between(Of(lambda net, x: net.b(net.p(net.a(x))), a=a(3), p=nn.PReLU(3), b=b(3)), reader="p outputs") == (
        same(3)
    )


def test_a_depthwise_convolution_passes_channels_on():
    net = Of(lambda net, x: net.b(net.d(net.a(x))), a=a(3), d=nn.Conv2d(3, 6, 1, groups=3), b=b(6))
    found = reach(net, IMAGE)
    assert pairs(found) == {
        ("a outputs", "d outputs"): same(3),
        ("a outputs", "b inputs"): {(place // 2, place) for place in range(6)},
        ("b outputs", "0 answer"): same(2),
    }
    assert found.ran == {"a", "d", "b"}


def test_a_layer_with_one_output_reaches_all_it_is_spread_over():
    net = Of(lambda net, x: net.b(net.a(x) * net.m(x).sigmoid()), a=a(3), m=nn.Conv2d(3, 1, 1), b=b(3))
    assert between(net) == same(3)
    assert between(net, "m outputs") == MIXED
    link = next(one for one in reach(net, IMAGE).links if one.source.layer == "m")
    assert link == Link(Axis("m", "outputs", 1), Axis("b", "inputs", 3), (), (), mixed=True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda y: y, {("b outputs", "0 answer"): same(2)}),
        (lambda y: [y, y.flip(1)], {("b outputs", "0 answer"): same(2), ("b outputs", "1 answer"): {(0, 1), (1, 0)}}),
        (lambda y: {"count": 3, "y": (y[:, :1],)}, {("b outputs", "0 answer"): {(0, 0)}}),
        (lambda y: {"first": y.argmax(1), "then": y.mean((2, 3))}, {("b outputs", "1 answer"): same(2)}),
        (lambda y: y.mean((1, 2, 3)), {("b outputs", "0 answer"): MIXED}),
        (lambda y: y[:, 1].mean((1, 2)), {("b outputs", "0 answer"): {(1, 0)}}),
        (lambda y: [y > 0, 3, None], {}),
        (lambda y: torch.full_like(y, torch.inf), {}),
    ],
)  # fmt: skip
def test_the_answer_is_read_too(answer, expected):
    found = reach(Of(lambda net, x: answer(net.b(net.a(x))), a=a(3), b=b(3)), IMAGE)
    assert pairs(found) == {("a outputs", "b inputs"): same(3), **expected}
    sizes = {link.reader.size for link in found.links if link.source.layer == "b"}
    assert all(size <= 2 for size in sizes)


def own_tensors() -> Of:
    """A scale and a mask of channels, an offset that is added in another order."""
    held = {
        "scale": nn.Parameter(torch.rand(1, 5, 1, 1)),
        "mask": torch.rand(5, 6, 1),
        "offset": nn.Parameter(torch.rand(5, 1, 1)),
        "number": nn.Parameter(torch.rand(1)),
        "steps": torch.tensor([1, 2, 3, 4, 5]),
    }
    return Of(
        lambda net, x: net.b(net.a(x) * net.scale * net.mask * net.number + net.offset.flip(0)), a=a(5), b=b(5), **held
    )


def test_tensors_in_no_layer_are_read_entry_by_entry():
    assert pairs(reach(own_tensors(), IMAGE)) == {
        ("a outputs", "b inputs"): same(5),
        ("scale 1", "b inputs"): same(5),
        ("mask 0", "b inputs"): same(5),
        ("mask 1", "b inputs"): MIXED,  # rows of pixels
        ("offset 0", "b inputs"): {(entry, 4 - entry) for entry in range(5)},
        ("b outputs", "0 answer"): same(2),
    }


def test_a_weight_that_the_code_reads_itself_is_a_tensor_as_any_other():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(F.conv2d(x, net.a.weight, net.a.bias))

    net = Of(forward, a=a(4), b=b(4), unused=nn.Linear(3, 2))
    found = reach(net, IMAGE)
    assert pairs(found) == {
        ("a.weight 0", "b inputs"): same(4),
        ("a.weight 1", "b inputs"): MIXED,
        ("a.bias 0", "b inputs"): same(4),
        ("b outputs", "0 answer"): same(2),
    }
    assert found.ran == {"b"}
    assert {link.source.size for link in found.links} == {4, 3, 2}


def test_two_names_of_one_tensor_are_both_told_of():
    net = own_tensors()
    net.offset = net.scale
    net.register_buffer("ids", net.steps)
    assert list(tensors_of(net)) == ["scale", "offset", "number", "a.weight", "a.bias", "b.weight", "b.bias",
                                     "mask", "steps", "ids"]  # fmt: skip
    assert tensors_of(net)["offset"] is net.scale
    assert tensors_of(net)["ids"] is net.steps


def test_the_net_given_is_as_it_was():
    net = own_tensors()
    net.norm, net.block = nn.BatchNorm2d(2, momentum=0.5), Padded()
    run = net.run
    net.run = lambda net, x: net.norm(run(net, x)) + net.block.b(x)[:, :2]
    before = copy.deepcopy(net.state_dict())
    reach(net, IMAGE)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert all(module.training for module in net.modules())
    assert not any("forward" in vars(module) for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert net(IMAGE).isfinite().all()


def test_nets_are_run_as_they_answer_not_as_they_learn():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.drop(net.n(net.a(x)))) if not net.training else x

    net = Of(forward, a=a(3), n=nn.BatchNorm2d(3), drop=nn.Dropout2d(0.9), b=b(3))
    assert between(net.train()) == same(3)
    assert between(net, reader="n outputs") == same(3)


ALONE = {
    "one number": lambda y: y.mean(),
    "no rows": lambda y: y.mean((0, 2, 3)),
    "the first row": lambda y: y[0],
}


@pytest.mark.parametrize("answer", ALONE.values(), ids=ALONE)
def test_rows_that_cannot_be_told_apart_are_tried_one_at_a_time(answer):
    net = Of(lambda net, x: answer(net.b(net.a(x).flip(1))), a=a(5), b=nn.Conv2d(5, 2, 1))
    assert between(net) == {(channel, 4 - channel) for channel in range(5)}


def test_a_layer_that_reads_no_rows():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.a(x) * net.gate(net.code)[:, :, None, None])

    net = Of(forward, a=a(5), gate=nn.Linear(4, 5), code=torch.ones(1, 4), b=b(5))
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "b inputs"): same(5),
        ("gate outputs", "b inputs"): same(5),
        ("code 1", "gate inputs"): same(4),
        ("b outputs", "0 answer"): same(2),
    }


def test_an_image_without_rows():
    net = Of(lambda net, x: net.b(net.a(x[0]).roll(1, 0))[None], a=a(5), b=b(5))
    assert between(net) == {(channel, (channel + 1) % 5) for channel in range(5)}
    assert between(net, "b outputs", "0 answer") == same(2)


def windows(x: Tensor) -> Tensor:
    """Four windows of 3 by 3 of each row become rows, channels last."""
    return x.unflatten(3, (2, 3)).unflatten(2, (2, 3)).permute(0, 2, 4, 3, 5, 1).flatten(0, 2).flatten(1, 2)


def test_windows_that_became_rows_belong_to_their_row():
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.b(net.q(windows(net.a(x))).flip(2))
        return y.unflatten(0, (-1, 4)).mean((1, 2))

    net = Of(forward, a=a(5), q=nn.Linear(5, 7), b=nn.Linear(7, 2))
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "q inputs"): same(5),
        ("q outputs", "b inputs"): {(channel, 6 - channel) for channel in range(7)},
        ("b outputs", "0 answer"): same(2),
    }


MANY = 300
ORDER = torch.randperm(MANY, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("numbers", [2**26, 40 * MANY * 5, 1], ids=["all rows", "some rows", "a row"])
@pytest.mark.parametrize("answer", [lambda y: y, lambda y: y.sum()], ids=["rows", "no rows"])
def test_hundreds_of_channels_are_told_apart_by_their_digits(answer, numbers, monkeypatch):
    monkeypatch.setattr(probe_module, "MOST_NUMBERS", numbers)
    net = Of(
        lambda net, x: answer(net.c(net.b(net.a(x)[:, ORDER]))),
        a=a(MANY),
        b=nn.Conv2d(MANY, 5, 1),
        c=nn.Conv2d(5, 2, 1),
    )
    found = pairs(reach(net, IMAGE))
    assert found["a outputs", "b inputs"] == {(entry, place) for place, entry in enumerate(ORDER.tolist())}
    assert found["b outputs", "c inputs"] == same(5)


@pytest.mark.parametrize("answer", [lambda y: y, lambda y: y.sum()], ids=["rows", "no rows"])
def test_hundreds_of_channels_in_groups_are_told_apart_one_by_one(answer):
    net = Of(lambda net, x: answer(net.b(net.n(net.a(x)))), a=a(132), n=nn.GroupNorm(44, 132), b=b(132))
    assert between(net) == {(e, p) for e in range(132) for p in range(132) if e // 3 == p // 3}


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 8, 9, 64, 65])
def test_as_many_digits_are_read_as_channels_have(channels):
    assert between(Of(lambda net, x: net.b(net.a(x)), a=a(channels), b=b(channels))) == same(channels)


def test_no_more_rows_are_run_at_once_than_fit(monkeypatch):
    longest = []

    def forward(net: Any, x: Tensor) -> Tensor:
        longest.append(len(x))
        return net.b(net.a(x))

    net = Of(forward, a=a(300), b=nn.Conv2d(300, 300, 1))
    for numbers, rows in [(2**26, 18), (7 * 36 * 3 * 300, 7), (1, 2)]:  # two rows are run to see what they do
        monkeypatch.setattr(probe_module, "MOST_NUMBERS", numbers)
        longest.clear()
        reach(net, IMAGE)
        assert max(longest) == rows
    groups = Of(forward, a=nn.Sequential(a(132), nn.GroupNorm(44, 132)), b=b(132))
    monkeypatch.setattr(probe_module, "MOST_NUMBERS", 2**26)
    longest.clear()
    reach(groups, IMAGE)
    assert max(longest) == 64


def test_tensors_that_reach_nothing_take_no_rows_from_layers():
    runs = []

    def forward(net: Any, x: Tensor) -> Tensor:
        runs.append(len(x))
        return net.b(net.a(x))

    reach(Of(forward, a=a(8), b=b(8), unread=torch.ones(2)), IMAGE)
    # Whether rows stay apart; two layers, the tensor; digits of the layers; the tensor by infinity, beside no poison.
    assert runs[2:] == [2, 2, 1, 6, 1, 1]


def test_a_net_that_changes_its_inputs_in_place():
    x = IMAGE.clone()
    net = Of(lambda net, x: net.b(net.a(x.mul_(2)).relu_()), a=a(3), b=b(3))
    assert pairs(reach(net, x)) == {("a outputs", "b inputs"): same(3), ("b outputs", "0 answer"): same(2)}
    assert torch.equal(x, IMAGE)


def test_a_layer_that_runs_twice_is_read_both_times():
    def forward(net: Any, x: Tensor) -> Tensor:
        once = net.b(net.a(x))
        return net.c(net.b(F.max_pool2d(once, 2).flip(1)))

    net = Of(forward, a=a(3), b=nn.Conv2d(3, 3, 1), c=nn.Conv2d(3, 2, 1))
    assert pairs(reach(net, IMAGE)) == {
        ("a outputs", "b inputs"): same(3),
        ("b outputs", "b inputs"): {(0, 2), (1, 1), (2, 0)},
        ("b outputs", "c inputs"): same(3),
        ("c outputs", "0 answer"): same(2),
    }


def test_a_norm_and_a_block_that_run_twice_are_read_both_times():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.n(net.a(x)) + net.n(net.other(x).flip(1)))

    net = Of(forward, a=a(3), other=a(3), n=nn.BatchNorm2d(3), b=b(3))
    assert between(net, "a outputs", "n outputs") == same(3)
    assert between(net, "other outputs", "n outputs") == {(0, 2), (1, 1), (2, 0)}


def test_inputs_may_be_given_by_name():
    net = Of(lambda net, x: net.b(input=net.n(input=net.a(input=x))), a=a(3), n=nn.BatchNorm2d(3), b=b(3))
    assert between(net) == between(net, reader="n outputs") == same(3)


def refuses(net: Any, x: Tensor) -> Tensor:
    y = net.a(x)
    if y.isnan().any():
        raise FloatingPointError("no number")
    return net.b(y)


def runs_again(net: Any, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.b(net.a(x) if y.isnan().any() else y)


def knows_one_row(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(x.view(1, 3, 6, 6)))


def test_a_net_that_does_not_run_so_is_told_by_what_it_raises():
    with pytest.raises(NetFailsError, match=r"^RuntimeError$"):
        reach(Of(knows_one_row, a=a(3), b=b(3)), IMAGE)


@pytest.mark.parametrize("forward", [refuses, runs_again])
def test_a_layer_on_whose_nan_a_net_fails_ends_nothing_for_the_others(forward):
    found = reach(Of(forward, a=a(3), b=b(3)), IMAGE)
    assert found.failing == {Axis("a", "outputs", 3)}
    assert pairs(found) == {("b outputs", "0 answer"): same(2)}


def steady(x: Tensor, channels: int) -> Tensor:
    """Channels that depend on nothing, of which no norm makes zero."""
    return torch.arange(1.0, 4 * channels + 1).to(x).view(1, channels, 2, 2).expand(len(x), -1, -1, -1)


class Steps(nn.Module):
    """Random steps, one after the other, each on what the last ones made; what is left is read by two layers."""

    def __init__(self, steps: list[tuple[str, int]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.own, self.todo = nn.ModuleDict(), nn.ParameterDict(), []
        channels = [3]
        for number, (kind, size) in enumerate(steps):
            now, name = channels[-1], f"{number}"
            earlier = size % len(channels)
            if kind == "product":
                self.layers[name] = nn.Conv2d(now, 1 + size % 6, 1)
                now = 1 + size % 6
            elif kind == "norm":
                self.layers[name] = nn.BatchNorm2d(now)
            elif kind == "groups":
                self.layers[name] = nn.GroupNorm(now // 2 if now % 2 == 0 else 1, now)
            elif kind == "scale":
                self.own[name] = nn.Parameter(torch.rand(now, 1, 1) + 0.5)
            elif kind == "beside":
                now += channels[earlier]
            elif kind == "pad":
                now += 1 + size % 2
            elif (kind == "halves" and now % 2) or (kind == "sum" and channels[earlier] != now):
                continue
            elif kind == "halves":
                now //= 2
            self.todo.append((kind, name, size, earlier))
            channels.append(now)
        self.last = nn.Linear(channels[-1], 2)
        self.flat = nn.Linear(channels[-1] * 4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        made = [x]
        for kind, name, size, earlier in self.todo:
            x = made[-1]
            made.append(
                self.layers[name](x) if name in self.layers
                else x * self.own[name] if name in self.own
                else x + made[earlier] if kind == "sum"
                else torch.cat([x, made[earlier]], 1) if kind == "beside"
                else torch.cat([steady(x, 1 + size % 2), x], 1) if kind == "pad"
                else F.glu(x, 1) if kind == "halves"
                else x.roll(size, 1) if kind == "roll"
                else x + x.mean(1, keepdim=True) if kind == "mean"
                else F.leaky_relu(x, 0.5)
            )  # fmt: skip
        return {"last": self.last(made[-1].flatten(2) @ torch.arange(4).to(x)), "flat": self.flat(made[-1].flatten(1))}


def reach_by_changes(net: nn.Module, x: Tensor) -> dict[tuple[str, str], Any]:
    """The same, found otherwise: products put out what they did, but for a channel that is a little more."""
    net, x = copy.deepcopy(net).double().eval(), x.double()
    layers = {path: layer for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    norms = {path: layer for path, layer in net.named_modules() if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm)}
    calm: dict[str, Tensor] = {}
    more: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}

    def read(name: str, dimension: int, x: Tensor) -> None:
        seen[name] = x.detach().movedim(dimension, 0).flatten(1)

    def put_out(path: str, layer: nn.Module, x: Any, y: Tensor) -> Tensor:
        read(f"{path} inputs", 1, x[0])
        return calm.setdefault(path, y) + more.get(path, 0.0)

    for path, layer in layers.items():
        layer.register_forward_hook(lambda layer, x, y, path=path: put_out(path, layer, x, y))
    for path, layer in norms.items():
        layer.register_forward_hook(lambda layer, x, y, path=path: read(f"{path} outputs", 1, x[0]))

    @torch.no_grad()
    def run() -> dict[str, Tensor]:
        seen.clear()
        for number, one in enumerate(net(x).values()):
            read(f"{number} answer", 1, one)
        return dict(seen)

    before = run()
    found: dict[tuple[str, str], set[tuple[int, int]]] = {}
    sizes: dict[str, int] = {}

    def compare(source: str, entry: int, size: int) -> None:
        sizes[source] = size
        for name, after in run().items():
            changed = (after != before[name]).any(1).nonzero()[:, 0].tolist()
            if changed:
                found.setdefault((source, name), set()).update((entry, place) for place in changed)

    for path in layers:
        for entry in range(calm[path].shape[1]):
            noise = torch.rand(calm[path].shape, dtype=torch.float64) + 0.5
            more[path] = noise * (torch.arange(noise.shape[1]) == entry).double().view(1, -1, *[1] * (noise.dim() - 2))
            compare(f"{path} outputs", entry, noise.shape[1])
            more.clear()
    for name, tensor in net.named_parameters():
        if "own" in name and len(tensor) > 1:
            for entry in range(len(tensor)):
                tensor.data[entry] += 1.0
                compare(f"{name} 0", entry, len(tensor))
                tensor.data[entry] -= 1.0
    return {ends: MIXED if is_mixed(links, sizes[ends[0]]) else links for ends, links in found.items()}


def is_mixed(links: set[tuple[int, int]], size: int) -> bool:
    """Whether each place depends, for each digit, on some entry that has it and on some that has it not."""
    digits = range((size - 1).bit_length())
    return size == 1 or all(
        {entry >> digit & 1 for entry, place in links if place == wanted} == {0, 1}
        for wanted, digit in itertools.product({place for _, place in links}, digits)
    )


KINDS = ["product", "norm", "groups", "scale", "beside", "pad", "sum", "halves", "roll", "mean", "bend"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 11)), max_size=7))
def test_any_net_reaches_what_changes_with_it(steps):
    net = Steps([("product", 5), *steps])
    x = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    assert pairs(reach(net, x)) == reach_by_changes(net, x)
