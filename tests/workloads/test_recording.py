"""What is recorded against PyTorch's own flop counter and against counts by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.energy.accelerator import Accelerator
from joulemark.energy.proxies import proxies
from joulemark.nets.builders.resnet import Block
from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.net import Net
from joulemark.nets.routers.exactly_one import exactly_one
from joulemark.nets.segments import Segments
from joulemark.workloads.recording import record

INT8 = Format(weight_bits=8, activation_bits=8, low=-3.0, high=3.0)


class Everything(nn.Module):
    """Strided, padded, grouped, dilated and transposed convolutions, batch norm, residual, pooling, 3-d linear, bmm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.dilated = nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=2)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.tokens = nn.Linear(16, 6)
        self.bare = nn.Linear(6, 5, bias=False)
        self.line = nn.Conv1d(4, 2, 3, padding="same")
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = x + self.grouped(x)
        x = self.pool(self.up(self.dilated(x))).flatten(2)  # rows, 4, 16
        x = self.bare(self.tokens(x))  # rows, 4, 5
        x = torch.cat([torch.bmm(self.line(x), x.transpose(1, 2)), x.new_ones(len(x), 2, 4)], 1)  # rows, 4, 4
        return self.head((x @ x).flatten(1)[:, :8])


def counted(module: nn.Module, images: Tensor, batch_size: int) -> int:
    """MACs by PyTorch's counter, which counts two FLOPs for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for batch in images.split(batch_size):
            getattr(module, "run", module)(batch)
    return counter.get_total_flops() // 2


def macs(work) -> dict[str, int]:
    found: dict[str, int] = {}
    for operation in work.operations:
        found[operation.layer] = found.get(operation.layer, 0) + operation.macs
    return {layer: count for layer, count in found.items() if count}


@pytest.fixture(scope="module")
def everything() -> nn.Module:
    torch.manual_seed(0)
    return Everything().eval()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_lenet_equals_the_flop_counter(batch_size):
    module, x = Net.new("lenet", (1, 28, 28), seed=0).module(), torch.randn(5, 1, 28, 28)
    work = record(module, x, batch_size=batch_size)
    assert sum(macs(work).values()) == counted(module, x, batch_size) == 5 * 2_293_000
    assert macs(work) == {
        "stage1.conv": 5 * 288_000,
        "stage2.conv": 5 * 1_600_000,
        "classifier.hidden": 5 * 400_000,
        "classifier.output": 5 * 5_000,
    }
    assert work.macs_per_input == 2_293_000
    assert (work.inputs, work.batch_size, work.unknown) == (5, batch_size, {})


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 1), (7, 3)])
def test_every_kind_of_product_equals_the_flop_counter(everything, rows, batch_size):
    x = torch.randn(rows, 3, 16, 16)
    work = record(everything, x, batch_size=batch_size)
    assert sum(macs(work).values()) == counted(everything, x, batch_size)
    assert work.unknown == {}
    # By hand, per row: 8x8 outputs of 8 channels; groups of 2 channels; two transposed groups of 4 inputs each.
    # The dilated layer gives 8 rows (2 * 2 padding, 5 taken by the filter) of 8.
    assert {layer: count / rows for layer, count in macs(work).items()} == {
        "first": 8 * 8 * 8 * 27,
        "grouped": 8 * 8 * 8 * 2 * 9,
        "dilated": 8 * 8 * 8 * 8 * 3,
        "up": 8 * 8 * 8 * 2 * 9,
        "tokens": 4 * 16 * 6,
        "bare": 4 * 6 * 5,
        "line": 2 * 5 * 4 * 3,
        "": 2 * 4 * 5 + 4 * 4 * 4,
        "head": 8 * 3,
    }


def test_shapes_and_geometry(everything):
    work = record(everything, torch.randn(7, 3, 16, 16), batch_size=3)
    conv = next(o for o in work.operations if o.layer == "grouped")
    assert (conv.input_shape, conv.output_shape, conv.weight_shape) == ((8, 8, 8), (8, 8, 8), (8, 2, 3, 3))
    assert (conv.stride, conv.padding, conv.dilation, conv.groups) == ((1, 1), (1, 1), (1, 1), 4)
    assert (conv.operator, conv.rows, conv.calls) == ("conv", 7, 3)
    dilated = next(o for o in work.operations if o.layer == "dilated")
    assert (dilated.padding, dilated.dilation) == ((2, 0), (2, 2))
    assert {o.operator for o in work.operations if not o.macs} >= {"batch_norm", "relu", "add"}


def test_recording_changes_nothing(everything):
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        before = everything(x)
        record(everything, x, batch_size=2)
        assert torch.equal(everything(x), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in everything.modules())


def test_a_failing_net_leaves_no_hooks():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        record(net, torch.randn(1, 2))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert record(net[0], torch.randn(1, 2)).macs_per_input == 4


def three_exits(first: float, second: float) -> Segments:
    torch.manual_seed(0)
    stages = {
        "a": nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()),
        "b": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        "c": nn.Sequential(nn.Flatten(), nn.Linear(16, 5)),
    }
    places = (("a", first, 48), ("b", second, 16))
    exits = tuple(
        Exit(after=name, router="exactly-one", threshold=t, features=f, classes=5) for name, t, f in places
    )  # fmt: skip
    return Segments(stages, Route(kind="exits", exits=exits)).eval()


@settings(max_examples=12, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.integers(1, 9))
def test_a_net_of_three_exits_counts_the_rows_that_stayed(first, second, batch_size):
    net, x = three_exits(first, second), torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    work = record(net, x, batch_size=batch_size)
    with torch.no_grad():
        a, b, _ = net.forward_all(x)
    stays = ~exactly_one(a, first)
    to_b, to_c = int(stays.sum()), int((stays & ~exactly_one(b, second)).sum())
    expected = {
        "a.0": 20 * 3 * 16 * 9,
        "exits.a.1": 20 * 48 * 5,
        "b.0": to_b * 4 * 4 * 27,
        "exits.b.1": to_b * 16 * 5,
        "c.1": to_c * 16 * 5,
    }
    assert macs(work) == {layer: count for layer, count in expected.items() if count}
    assert sum(macs(work).values()) == counted(net, x, batch_size)
    rows = {o.layer: o.rows for o in work.operations if o.macs}
    assert rows.get("b.0", 0) == to_b
    assert rows.get("c.1", 0) == to_c
    assert work.unknown == {}


def test_an_operator_without_a_rule_is_reported_with_its_share():
    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft2(torch.relu(self.conv(x)))

    work = record(Fourier(), torch.randn(6, 1, 8, 8), batch_size=4)
    # 2 * 6 * 6 from the convolution, as many from the rectifier, 2 * 6 * 4 from the transform.
    assert work.unknown == {"aten._fft_r2c.default": pytest.approx(48 / (72 + 72 + 48))}
    assert (work.macs_per_input, work.known_macs_per_input) == (None, 2 * 6 * 6 * 9)
    assert work.known_share == pytest.approx(0.75)


def test_shares_of_several_unknown_operators():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.inv(x) @ torch.special.bessel_j0(x[:, :, :1])

    work = record(Odd(), torch.eye(3).repeat(2, 1, 1))
    assert work.unknown["aten.linalg_inv_ex.default"] == pytest.approx(9 / 15)
    assert work.unknown["aten.special_bessel_j0.default"] == pytest.approx(3 / 15)


def test_densities_by_hand():
    conv = nn.Conv2d(1, 2, 2, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 2.0], [0.0, 3.0]]]]))
    (found,) = record(conv, torch.tensor([[[[0.0, 5.0], [0.0, 0.0]]]])).operations
    assert found.weight_density == 0.5
    assert found.activation_density == 0.25
    # 9 positions x 2 filters x 4 weights = 72 MACs, of which each of the 4 pixels meets each of the 8 weights once: 32
    # do not read padding. The one pixel that is not zero meets the four weights that are not: 4 of 32.
    assert found.macs == 72
    assert found.joint_density == pytest.approx(4 / 32)


def test_densities_of_a_linear_layer_by_hand():
    linear = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]))
    (found,) = record(linear, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), batch_size=1).operations
    assert found.weight_density == 0.5
    assert found.activation_density == pytest.approx(4 / 6)
    assert found.joint_density == pytest.approx(3 / 12)  # row one meets 1; row two meets 2 and 3
    assert (found.rows, found.calls) == (2, 2)


def test_joint_density_is_the_share_of_macs_that_are_not_zero_times_something():
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)
    with torch.no_grad():
        conv.weight.mul_(torch.rand_like(conv.weight) < 0.4)
    x = torch.randn(3, 4, 9, 9) * (torch.rand(3, 4, 9, 9) < 0.3)
    (found,) = record(conv, x, batch_size=2).operations
    joint = inside = 0
    for row in x:
        for m in range(6):
            for c in range(2):
                for i in range(found.output_shape[1]):
                    for j in range(found.output_shape[2]):
                        for r in range(3):
                            for s in range(3):
                                y, z = 2 * i + 2 * r - 1, 2 * j + 2 * s - 1
                                if 0 <= y < 9 and 0 <= z < 9:
                                    inside += 1
                                    joint += bool(conv.weight[m, c, r, s] and row[m // 3 * 2 + c, y, z])
    assert found.joint_density == pytest.approx(joint / inside)


def test_quantised_layers_keep_their_paths_and_have_their_bits():
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    x = torch.randn(2, 1, 28, 28)
    plain = record(net.module(), x)
    work = record(net.replace(formats={"stage2.conv": INT8, "classifier.hidden": INT8}).module(), x)
    assert macs(work) == macs(plain)
    sums = [o for o in work.operations if o.operator == "add"]  # the bias of a quantised linear layer
    assert {o.layer for o in sums} == {"classifier.hidden"}
    assert [(o.layer, o.operator, o.rows, o.weight_shape) for o in work.operations if o not in sums] == [
        (o.layer, o.operator, o.rows, o.weight_shape) for o in plain.operations
    ]
    bits = {o.layer: (o.weight_bits, o.activation_bits) for o in work.operations if o.macs}
    assert bits == {
        "stage1.conv": (32, 32), "stage2.conv": (8, 8), "classifier.hidden": (8, 8), "classifier.output": (32, 32),
    }  # fmt: skip


def test_parts_of_a_cascade_have_their_bits_too():
    part = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    route = Route(
        kind="cascade", order=("one", "two"), exits=(Exit(after="one", router="exactly-one", threshold=9.0),)
    )  # fmt: skip
    parts = {"one": part.replace(formats={"stage1.conv": INT8}), "two": part}
    net = Net(builder="lenet", input_shape=(1, 28, 28), route=route, parts=parts)
    work = record(net.module(), torch.randn(3, 1, 28, 28))
    assert {o.layer: o.weight_bits for o in work.operations if o.operator == "conv"} == {
        "one.stage1.conv": 8, "one.stage2.conv": 32, "two.stage1.conv": 32, "two.stage2.conv": 32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("builder", "expected", "others"),
    [
        ("resnet20", 40_551_040, {"batch_norm", "relu", "add", "constant_pad_nd", "mean"}),
        ("convnet", 12_298_240, {"batch_norm", "relu", "max_pool", "avg_pool2d"}),
        ("alexnet", 28_247_296, {"batch_norm", "relu", "max_pool"}),
        ("vgg", 53_053_952, {"batch_norm", "relu", "max_pool"}),
    ],
)
def test_nets_of_ours_equal_the_flop_counter_and_are_modelled_whole(builder, expected, others):
    module, x = Net.new(builder, (3, 32, 32), seed=0).module(), torch.randn(2, 3, 32, 32)
    work = record(module, x)
    assert sum(macs(work).values()) == counted(module, x, 1) == 2 * expected
    assert work.unknown == {}
    assert {o.operator for o in work.operations if not o.macs} == others
    paths = {p for p, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert set(macs(work)) == paths
    report = Accelerator().estimate(work)
    assert report.coverage == 1.0
    assert {layer.layer for layer in report.layers} == paths  # a batch norm costs nothing: runtimes fold it


def test_a_shortcut_of_slices_and_zero_channels_has_no_macs():
    module = Block(4, 8, 2).eval()
    work = record(module, torch.randn(3, 4, 6, 6))
    by_operator = {o.operator: o for o in work.operations if o.layer == ""}
    assert set(by_operator) == {"add", "constant_pad_nd"}
    assert by_operator["constant_pad_nd"].input_shape == (4, 3, 3)
    assert by_operator["constant_pad_nd"].output_shape == (8, 3, 3)
    assert macs(work) == {"conv1": 3 * 8 * 9 * 4 * 9, "conv2": 3 * 8 * 9 * 8 * 9}


class Twice(nn.Module):
    """Two functional convolutions of one name in one module: 36 weights at 8 x 8, then 32 at 4 x 4."""

    def __init__(self, second: tuple[int, ...] = (8, 4, 1, 1)) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(4, 1, 3, 3))
        self.second = nn.Parameter(torch.randn(*second))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, self.first, padding=1)
        return nn.functional.conv2d(nn.functional.max_pool2d(x, 2), self.second)


def test_two_operators_of_one_name_in_one_module_stay_two():
    module, x = Twice(), torch.randn(6, 1, 8, 8)
    work = record(module, x, batch_size=2)
    first, second = (o for o in work.operations if o.operator == "conv")
    assert (first.layer, first.weight, first.weight_shape, first.macs) == ("", "first", (4, 1, 3, 3), 6 * 64 * 36)
    assert (second.layer, second.weight, second.weight_shape, second.macs) == ("", "second", (8, 4, 1, 1), 6 * 16 * 32)
    assert (first.rows, first.calls, second.rows, second.calls) == (6, 3, 6, 3)
    assert sum(macs(work).values()) == counted(module, x, 2)
    assert proxies(work, parameters=68, nonzeros=68)["weight_bytes"] == 4 * (36 + 32)

    layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.Conv2d(4, 8, 1, bias=False))
    with torch.no_grad():
        layers[0].weight.copy_(module.first)
        layers[2].weight.copy_(module.second)
    found, expected = (Accelerator().estimate(one) for one in (work, record(layers, x, batch_size=2)))
    assert found.joules.value == expected.joules.value
    assert found.coverage == 1.0
    assert not any("its shape" in note for note in found.assumptions)


def test_two_weights_of_one_shape_are_two_and_one_that_runs_twice_is_one():
    class Same(Twice):
        def __init__(self, shared: bool) -> None:
            super().__init__((4, 1, 3, 3))
            self.second = self.first if shared else self.second

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, self.first) + nn.functional.conv2d(x, self.second)

    for shared, expected in ((False, 2 * 144), (True, 144)):
        work = record(Same(shared), torch.randn(1, 1, 8, 8))
        assert proxies(work, parameters=1, nonzeros=1)["weight_bytes"] == expected
        assert work.macs_per_input == 2 * 36 * 36


def test_a_weight_that_two_layers_share_is_there_once():
    module = nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU(), nn.Linear(5, 5, bias=False))
    module[2].weight = module[0].weight
    work = record(module, torch.randn(3, 5))
    assert set(macs(work)) == {"0", "2"}
    assert proxies(work, parameters=25, nonzeros=25)["weight_bytes"] == 100


def test_attention_in_one_operator_counts_as_its_two_products():
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    work = record(Attention(), torch.randn(2, 4, 5, 8))  # 4 heads, 5 places, 8 numbers
    assert work.macs_per_input == 4 * (5 * 5 * 8 + 5 * 5 * 8)
    assert not work.unknown
    assert Accelerator().estimate(work).coverage == 0.0


def test_multi_head_attention_is_counted_by_its_parts():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    work = record(layer, torch.randn(1, 5, 16))
    assert not work.unknown
    projections, attention, feed_forward = 5 * 16 * 48 + 5 * 16 * 16, 2 * 5 * 5 * 16, 2 * 5 * 16 * 32
    assert work.macs_per_input == projections + attention + feed_forward


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler is made of what torch deprecates
def test_a_compiled_module_is_recorded_operator_by_operator():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    work = record(torch.compile(module), torch.randn(2, 4))
    assert macs(work) == {"_orig_mod.0": 24, "_orig_mod.2": 12}


class Vectors(nn.Module):
    """A matrix times a vector, with and without a sum, and vectors times each other; those of the first row alone."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = x[0]
        return (
            torch.mv(self.matrix, x) + torch.addmv(torch.zeros(6), self.matrix, x) + torch.dot(x, x) + torch.vdot(x, x)
        )


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], **more) -> None:
        super().__init__()
        self.layer = kind(4, 6, batch_first=True, **more)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.view(len(x), 3, 4))[0]


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(5, 7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, :5], x[:, 5:])


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Vectors(), 2 * 72 + 2 * 12),
        (Recurrent(nn.LSTM), 3 * 24 * (4 + 6)),
        (Recurrent(nn.LSTM, num_layers=2, bidirectional=True), 2 * 3 * 24 * (4 + 6) + 2 * 3 * 24 * (12 + 6)),
        (Recurrent(nn.GRU), 3 * 18 * (4 + 6)),
        (Recurrent(nn.RNN), 3 * 6 * (4 + 6)),
        (Pairs(), 4 * (5 * 7 + 7)),
    ],
    ids=["vectors", "lstm", "deep lstm", "gru", "rnn", "bilinear"],
)
def test_products_of_other_layers_are_counted(module, expected):
    work = record(module.eval(), torch.randn(1, 12))
    assert not work.unknown
    assert work.macs_per_input == expected


def test_an_einsum_counts_as_the_product_that_it_is():
    class Summed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bij,bkj->bik", x, x)

    assert record(Summed(), torch.randn(2, 3, 5)).macs_per_input == 45


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 16), (torch.float16, 16), (torch.float32, 32)])
def test_bits_are_those_of_the_numbers(dtype, bits):
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, bias=False).to(dtype)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.to(dtype)).float()

    work = record(Cast(), torch.randn(2, 3, 8, 8))
    (conv,) = (one for one in work.operations if one.macs)
    assert (conv.weight_bits, conv.activation_bits) == (bits, bits)
    sizes = proxies(work, parameters=216, nonzeros=216)
    assert sizes["weight_bytes"] == 216 * bits / 8
    # All operators but the convolution here cost nothing, so its input, output and weights are what was moved.
    assert sizes["bytes_moved_per_input"] == (192 + 8 * 36 + 216) * bits / 8


def test_a_number_format_has_the_last_word_on_bits():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    net = net.replace(formats={"stage1.conv": Format(weight_bits=8, activation_bits=8, low=-1.0, high=1.0)})
    work = record(net.module(), torch.randn(1, 1, 28, 28), formats=net.formats)
    bits = {one.layer: (one.weight_bits, one.activation_bits) for one in work.operations if one.macs}
    assert bits["stage1.conv"] == (8, 8)
    assert bits["stage2.conv"] == (32, 32)


def test_proxies_of_what_has_an_operator_without_a_rule_are_unknown_and_its_size_is_not():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.inv(x) @ x

    work = record(Odd(), torch.eye(3).repeat(2, 1, 1))
    found = proxies(work, parameters=7, nonzeros=6)
    assert (found.pop("parameters"), found.pop("nonzero_parameters")) == (7.0, 6.0)
    assert set(found.values()) == {None}
    assert work.known_macs_per_input == 27
    report = Accelerator().estimate(work)
    assert "unknown operators" in report.joules.flags
