"""What zero channels may go: tried on small nets, beside what is known of each step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everybody writes it)

from joulemark.nets.groups import Group, Member
from joulemark.nets.zero_channels import CHANGES, FAILS, judged, random_rows

IMAGE = (3, 6, 6)

pytestmark = pytest.mark.usefixtures("one_thread")


class Of(nn.Module):
    """A net of these layers and tensors that does what ``run`` says; ``a`` makes 4 channels, ``b`` reads them."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **held: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run, self.a, self.b, self.h = run, nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(3, 2, 1)
        for name, one in held.items():
            setattr(self, name, one)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def outputs(layer: str, channels: int = 4) -> Member:
    return Member(layer, "outputs", tuple(range(channels)), tuple(range(channels)))


def inputs(layer: str, channels: int = 4) -> Member:
    return outputs(layer, channels)._replace(axis="inputs")


def why(run: Callable[[Any, Tensor], Any], *passing: Member, **held: Any) -> str | None:
    """Why the channels between ``a`` and ``b`` must stay."""
    net = Of(run, **held)
    (reason,) = judged([Group(4, (outputs("a"), *passing, inputs("b")))], net.eval(), IMAGE)
    return reason


STEPS = {
    "nothing": (lambda x: x, None),
    "relu": (F.relu, None),
    "tanh": (F.tanh, None),
    "silu": (F.silu, None),
    "pooled": (lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2), None),
    "gate a channel": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), None),
    "length of a pixel": (lambda x: x / (1 + x.norm(dim=1, keepdim=True)), None),
    "greatest of what is positive": (lambda x: x.relu() / (1 + x.relu().amax(1, keepdim=True)), None),
    "sigmoid": (torch.sigmoid, CHANGES),
    "cosine": (torch.cos, CHANGES),
    "one more": (lambda x: x + 1, CHANGES),
    "softmax": (lambda x: x.softmax(1), CHANGES),
    "less the mean of channels": (lambda x: x - x.mean(1, keepdim=True), CHANGES),
    "by the number of channels": (lambda x: x / x.shape[1], CHANGES),
    "norm over channels": (lambda x: F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1), CHANGES),
    "so many channels in the code": (lambda x: x.view(-1, 4, 6, 6), FAILS),
    "one of them by number": (lambda x: x + x[:, 3:4], FAILS),
}  # fmt: skip


@pytest.mark.parametrize(("step", "expected"), STEPS.values(), ids=STEPS)
def test_each_step_by_hand(step, expected):
    assert why(lambda net, x: net.b(step(net.a(x)))) == expected


BRANCHES = [(F.relu, None), (torch.sigmoid, CHANGES)]
"""What is between ``a`` and ``b``, and whether that is harmless."""


@pytest.mark.parametrize(("step", "expected"), BRANCHES)
@pytest.mark.parametrize("shape", [(2,), (1, 2, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("size", [0.0, 1e-6, -1e-6])
def test_a_scale_of_next_to_nothing_hides_nothing(step, expected, shape, size):
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.h(x) + net.scale.view(2, 1, 1) * net.b(step(net.a(x)))

    assert why(forward, scale=nn.Parameter(torch.full(shape, size))) == expected


@pytest.mark.parametrize(("step", "expected"), BRANCHES)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(2), nn.GroupNorm(2, 2), nn.InstanceNorm2d(2, affine=True)], ids=str)
def test_a_norm_that_scales_with_zero_hides_nothing(step, expected, norm):
    norm = copy.deepcopy(norm)
    nn.init.zeros_(norm.weight)
    assert why(lambda net, x: net.h(x) + net.norm(net.b(step(net.a(x)) * x[:, :1])), norm=norm) == expected


def test_a_norm_over_images_that_scales_with_zero_hides_nothing():
    norm = nn.LayerNorm((2, 6, 6))
    nn.init.zeros_(norm.weight)
    assert why(lambda net, x: net.h(x) + net.norm(net.b(net.a(x).sigmoid() * x[:, :1])), norm=norm) == CHANGES


@pytest.mark.parametrize(("step", "expected"), BRANCHES)
@pytest.mark.parametrize("product", [nn.Conv2d(4, 2, 3, padding=1), nn.ConvTranspose2d(4, 2, 1)], ids=str)
def test_a_product_that_begins_with_zero_hides_nothing(step, expected, product):
    product = copy.deepcopy(product)
    nn.init.zeros_(product.weight)
    group = Group(4, (outputs("a"), inputs("b")._replace(transposed=isinstance(product, nn.ConvTranspose2d))))
    net = Of(lambda net, x: net.h(x) + net.b(step(net.a(x))), b=product).eval()
    assert judged([group], net, IMAGE) == [expected]


def test_scales_that_are_no_less_than_a_tenth_stay_as_they_are():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.a(x).relu()) * (net.scale == 0.25).all()

    assert why(forward, scale=nn.Parameter(torch.tensor([0.25, 0.25]))) is None

    def other_scales(net: Any, x: Tensor) -> Tensor:
        y = net.b(net.a(x).sigmoid())
        return y * (net.scale == torch.tensor([0.0, 0.25])).all()  # some of it is seen

    assert why(other_scales, scale=nn.Parameter(torch.tensor([0.0, 0.25]))) == CHANGES


@pytest.mark.parametrize(("step", "expected"), BRANCHES)
@pytest.mark.parametrize("offset", [1e3, 1e5, 1e7])
def test_an_offset_far_greater_than_what_varies_hides_nothing(step, expected, offset):
    assert why(lambda net, x: net.b(step(net.a(x))) + offset) == expected
    assert why(lambda net, x: [net.h(x), 0.001 * net.b(step(net.a(x))) + offset]) == expected
    assert why(lambda net, x: net.b(step(net.a(x))) + offset * torch.arange(2.0).view(2, 1, 1)) == expected


@pytest.mark.parametrize(("share", "expected"), [(1e-7, None), (1e-6, None), (1e-3, CHANGES), (1e-2, CHANGES)])
def test_a_difference_counts_from_a_share_of_what_varies(share, expected):
    net = Of(lambda net, x: net.h(x) + share * net.b(net.a(x).sigmoid())).eval()
    with torch.no_grad():
        net.b.weight.fill_(1.0)
    assert judged([Group(4, (outputs("a"), inputs("b")))], net, IMAGE) == [expected]


def test_rounding_of_many_terms_is_no_difference():
    net = Of(lambda net, x: net.b(net.a(x).relu()) + 30.0, a=nn.Conv2d(3, 512, 1), b=nn.Conv2d(512, 2, 3)).eval()
    assert judged([Group(512, (outputs("a", 512), inputs("b", 512)))], net, IMAGE) == [None]


def only_if(large: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """A net that makes a half of zero in those rows that are large."""

    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.a(x)
        return net.b(torch.where(large(x), y.abs() + 0.2 * x.abs().amax() * (y == 0), y))

    return forward


@pytest.mark.parametrize(
    "large",
    [
        lambda x: x.abs().amax() < 6,
        lambda x: (x.abs().amax() > 20) & (x.abs().amax() < 100),
        lambda x: x.abs().amax() > 300,
        lambda x: x.amin() > 0,
    ],
    ids=["deviation of 1", "of 16", "of 255", "pixels"],
)
def test_what_makes_something_of_zero_for_inputs_of_one_size_only(large):
    assert why(only_if(large)) == CHANGES
    assert why(only_if(lambda x: x.abs().amax() > 1e4)) is None


def test_random_rows_are_of_three_sizes_and_positive():
    rows = random_rows((3, 40, 40))
    assert rows.shape == (8, 3, 40, 40)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(
        rows.flatten(1).std(1), torch.tensor([1, 1, 16, 16, 255, 255, 255 / 12**0.5, 255 / 12**0.5]), rtol=0.05, atol=0
    )
    assert (rows[:6].flatten(1).amin(1) < 0).all()
    assert (rows[6:].amin() >= 0) & (rows.amin() < -300) & (rows[6:].amax() <= 255) & (rows[6:].amax() > 250)
    assert torch.equal(rows, random_rows((3, 40, 40)))
    assert len({row.tobytes() for row in rows.numpy()}) == 8


def halves(x: Tensor) -> Tensor:
    return x[:, : x.shape[1] // 2] * x[:, x.shape[1] // 2 :].sigmoid()


def test_both_halves_of_a_gated_unit_go_together():
    net = Of(lambda net, x: net.b(halves(net.a(x))), a=nn.Conv2d(3, 8, 1)).eval()
    tied = Member("a", "outputs", tuple(range(8)), (0, 1, 2, 3, 0, 1, 2, 3))
    assert judged([Group(4, (tied, inputs("b")))], net, IMAGE) == [None]
    neighbours = tied._replace(channels=(0, 0, 1, 1, 2, 2, 3, 3))
    assert judged([Group(4, (neighbours, inputs("b")))], net, IMAGE) == [CHANGES]


def test_what_stands_an_even_cut_only_stays():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.h(x) + net.a(x).unflatten(1, (2, -1)).sum((1, 2), keepdim=False)[:, None]

    net = Of(forward).eval()
    assert judged([Group(4, (outputs("a"),))], net, IMAGE) == [FAILS]


@pytest.mark.parametrize("channel", range(4))
def test_every_channel_is_tried(channel):
    net = Of(lambda net, x: net.b(net.a(x).sigmoid())).eval()
    with torch.no_grad():
        net.b.weight[:, [one for one in range(4) if one != channel]] = 0.0  # nothing is made of the others
    assert judged([Group(4, (outputs("a"), inputs("b")))], net, IMAGE) == [CHANGES]


def test_groups_that_go_in_equal_numbers_only_stay():
    """Each half of ``a`` is read by a layer of its own, which takes half of what there is."""

    def forward(net: Any, x: Tensor) -> Tensor:
        first, second = net.a(x).relu().chunk(2, 1)
        return net.b(first) + net.c(second)

    net = Of(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(4, 2, 1), c=nn.Conv2d(4, 2, 1)).eval()
    four = tuple(range(4))
    halves = [
        Group(4, (Member("a", "outputs", places, four), Member(reader, "inputs", four, four)))
        for places, reader in ((four, "b"), (tuple(range(4, 8)), "c"))
    ]
    assert judged(halves, net, IMAGE) == [FAILS, FAILS]


def test_a_part_that_is_a_share_of_the_width_moves_with_the_last_channels():
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.a(x)
        half = y.shape[1] // 2
        return net.b(torch.cat([y[:, :half].relu(), y[:, half:].tanh()], 1))

    assert why(forward) == CHANGES


def test_a_layer_that_runs_in_training_only_is_in_the_way_unless_it_is_cut_too():
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.a(x).relu()
        return net.b(y) + (net.more(y) if net.training else 0.0)

    more = nn.Conv2d(4, 2, 1)
    assert why(forward, more=more) == FAILS
    assert why(forward, inputs("more"), more=more) is None


def test_what_a_layer_between_adds_is_zero_too():
    norm = nn.BatchNorm2d(4)
    nn.init.ones_(norm.bias)
    assert why(lambda net, x: net.b(net.n(net.a(x)).relu()), outputs("n"), n=norm) is None
    offset = {"offset": nn.Parameter(torch.ones(4, 1, 1))}
    of_offset = Member("offset", "0", (0, 1, 2, 3), (0, 1, 2, 3))
    assert why(lambda net, x: net.b(net.a(x) + net.offset), of_offset, **offset) is None
    scale = {"offset": nn.Parameter(torch.ones(1, 4, 1, 1))}
    assert why(lambda net, x: net.b(net.a(x) + net.offset), of_offset._replace(axis="1"), **scale) is None
    plain = nn.BatchNorm2d(4, affine=False)
    plain.running_mean.fill_(1.0)
    assert why(lambda net, x: net.b(net.n(net.a(x))), outputs("n"), n=plain) is None
    assert why(lambda net, x: net.b(net.n(net.a(x))), n=nn.BatchNorm2d(4, affine=False)) == FAILS


def test_a_transposed_convolution_has_its_outputs_second():
    net = Of(lambda net, x: net.b(net.a(x)), a=nn.ConvTranspose2d(3, 4, 1)).eval()
    assert judged([Group(4, (outputs("a")._replace(transposed=True), inputs("b")))], net, IMAGE) == [None]


def test_what_reads_the_channels_stays_as_it_is():
    """Inputs are not made zero: those of ``b`` are told by what ``h`` adds, which reads the same weight."""
    assert why(lambda net, x: net.b(net.a(x)) + net.b.weight.sum()) == CHANGES


def test_places_that_no_edit_can_cut():
    norm = {"n": nn.GroupNorm(2, 4)}
    assert why(lambda net, x: net.b(net.n(net.a(x))), outputs("n"), **norm) == FAILS
    net = Of(lambda net, x: net.b(net.a(x)), a=nn.Conv2d(3, 1, 1), b=nn.Conv2d(1, 2, 1)).eval()
    assert judged([Group(1, (outputs("a", 1), inputs("b", 1)))], net, IMAGE) == [FAILS]  # nothing would be left


def test_a_net_whose_zero_channels_are_no_numbers():
    assert why(lambda net, x: net.b(1 / net.a(x))) == CHANGES
    assert why(lambda net, x: net.b(net.a(x).log().nan_to_num(1.0, 1.0, 1.0))) == CHANGES


def test_what_overflows_with_and_without_tells_of_nothing():
    assert why(lambda net, x: net.b(net.a(x)) * x.abs().amax().exp()) is None
    assert why(lambda net, x: net.b(net.a(x).sigmoid()) * x.abs().amax().exp()) == CHANGES


def refuses_large_rows(net: Any, x: Tensor) -> Tensor:
    if x.abs().amax() > 100 and net.a.out_channels < 4:
        raise ValueError("too large for so few")
    return net.b(net.a(x))


def test_a_net_that_fails_for_some_rows_only():
    assert why(refuses_large_rows) is not None


ANSWERS = {
    "in a dictionary": lambda y: {"y": y, "count": 3},
    "in a list of lists": lambda y: [[y], None],
    "integers": lambda y: (1000 * y).round().long().clamp(-(2**20), 2**20),
    "a sum": lambda y: y[:, :1].sum((1, 2, 3)),
    "beside what stays": lambda y: torch.cat([y * 0, y], 1),
    "a number": lambda y: y.square().mean(),
    "in halves": lambda y: y.half().float(),
    "beside nothing": lambda y: [y * 0, y],
    "a small one beside a large one": lambda y: {"large": 1e6 + y * 0, "small": 1e-6 * y},
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(("step", "expected"), BRANCHES)
def test_answers_of_every_form(answer, step, expected):
    def forward(net: Any, x: Tensor) -> Any:
        return answer(net.b(step(net.a(x).round(decimals=1))))

    assert why(forward) == expected


def test_which_of_several_is_greatest_is_compared_exactly():
    def forward(net: Any, x: Tensor) -> Tensor:
        return (net.h(x) + net.b(net.a(x).sigmoid())).argmax(1)

    assert why(forward) == CHANGES
    assert why(lambda net, x: net.a(x).argmax(1) + 0 * net.b(net.a(x)).long()[:, 0]) == CHANGES
    assert why(lambda net, x: net.b(net.a(x).relu()) > 0) is None


def test_an_answer_that_has_the_channels_or_counts_them_changes():
    assert why(lambda net, x: [net.b(net.a(x)), net.a(x)]) == CHANGES
    assert why(lambda net, x: [net.b(net.a(x)), *(0 * net.a(x)).unbind(1)]) == CHANGES
    assert why(lambda net, x: [net.b(net.a(x)), (net.a(x) > 0)]) == CHANGES


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_a_net_that_computes_in_floats_of_its_own_is_judged_by_those(offset):
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(net.a(x.float()).relu()) + offset

    assert why(forward) is None
    assert why(lambda net, x: 0.1 * net.b(net.a(x.float()).sigmoid()) + 5) == CHANGES


def chain(bad: set[int]) -> tuple[Of, list[Group]]:
    """Six convolutions in a row; behind those of ``bad`` is a sigmoid."""

    def forward(net: Any, x: Tensor) -> Tensor:
        for number, layer in enumerate(net.convolutions[:-1]):
            x = layer(x).sigmoid() if number in bad else layer(x).relu()
        return net.convolutions[-1](x)

    torch.manual_seed(0)
    net = Of(forward, convolutions=nn.ModuleList(nn.Conv2d(3 if n == 0 else 4, 4, 1) for n in range(6))).eval()
    groups = [Group(4, (outputs(f"convolutions.{n}"), inputs(f"convolutions.{n + 1}"))) for n in range(5)]
    return net, groups


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(0, 4)), st.permutations(range(5)))
def test_just_the_bad_ones_of_several_groups_are_found(bad, order):
    net, groups = chain(bad)
    with torch.no_grad():
        for layer in net.convolutions:
            layer.weight.abs_()  # nothing dies of a relu
    found = judged([groups[number] for number in order], net, IMAGE)
    assert found == [CHANGES if number in bad else None for number in order]


def test_a_bad_group_does_not_spoil_those_tried_with_it():
    net, groups = chain({2})
    broken = Group(4, (outputs("convolutions.5"), inputs("convolutions.0", 4)))
    assert judged([groups[0], broken, groups[2], groups[4]], net, IMAGE) == [None, FAILS, CHANGES, None]
    assert judged([], net, IMAGE) == []


def test_good_groups_are_tried_together():
    runs = []

    def forward(net: Any, x: Tensor) -> Tensor:
        runs.append(len(x))
        return net.b(net.a(x))

    group = Group(4, (outputs("a"), inputs("b")))
    judged([group], Of(forward).eval(), IMAGE)
    once = len(runs)
    judged([group, Group(2, (Member("h", "outputs", (0, 1), (0, 1)),))], Of(forward).eval(), IMAGE)
    assert once < len(runs) - once < 1.5 * once  # two rounds more, which tell them apart
    assert set(runs) == {2}


def test_the_net_given_is_as_it_was():
    net, groups = chain({1})
    nn.init.zeros_(net.convolutions[3].weight)
    net.train()
    before = copy.deepcopy(net.state_dict())
    judged(groups, net, IMAGE)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert [layer.out_channels for layer in net.convolutions] == [4] * 6
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_difference_in_one_output_is_not_hidden_by_another_that_is_far_larger():
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.a(x)
        return torch.cat([3e3 * net.b(y.relu()), net.b(y.sigmoid())], 1)

    assert why(forward) == CHANGES
    assert why(lambda net, x: torch.cat([3e3 * net.b(net.a(x).relu()), net.b(net.a(x).tanh())], 1)) is None
