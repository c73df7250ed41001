"""The accelerator model against the figures of published nets, hand-made sparse layers and its own promises."""

import math
import time

import msgspec
import numpy as np
import pytest
from operations import alexnet, conv, linear, resnet50, squeezenet, vgg16_convolutions

from joulemark.energy.accelerator import Accelerator, accelergy, horowitz
from joulemark.energy.hardware import Description, stored_words
from joulemark.energy.row_stationary import accesses, constraints, search
from joulemark.energy.shapes import Shape, layer_shape
from joulemark.record import Kind
from joulemark.workloads.workload import Operation, Workload

CHIP = Description.shipped("eyeriss")
PARTS = {"DRAM", "buffer", "array", "register file", "MAC"}


def units(operations, *, batch_size=1, inputs=1):
    """Modelled energy per input, in multiply-accumulates."""
    workload = Workload(inputs=inputs, batch_size=batch_size, operations=operations)
    return Accelerator().estimate(workload).joules.value / CHIP.unit_joules


def one(operation, *, inputs=1, batch_size=1):
    """Joules per input of one operation, by component."""
    workload = Workload(inputs=inputs, batch_size=batch_size, operations=(operation,))
    return Accelerator().estimate(workload).layers[0].joules


# Check values: the formulas searched in plain Python over divisor candidates, in another program.
@pytest.mark.parametrize(("batch_size", "expected"), [(1, 16.50e9), (4, 7.38e9), (16, 5.16e9), (48, 4.67e9)])
def test_alexnet_costs_what_the_published_formulas_give(batch_size, expected):
    assert sum(operation.macs for operation in alexnet()) == pytest.approx(724.4e6, rel=1e-4)
    assert units(alexnet(), batch_size=batch_size) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 6.77e9), (4, 6.71e9), (16, 6.70e9), (48, 6.70e9)])
def test_squeezenet_costs_what_the_published_formulas_give(batch_size, expected):
    assert sum(operation.macs for operation in squeezenet()) == pytest.approx(861.3e6, rel=1e-4)
    assert units(squeezenet(), batch_size=batch_size) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("model", [Accelerator, horowitz, accelergy])
@pytest.mark.parametrize("batch_size", [1, 4, 16, 48])
def test_every_chosen_mapping_meets_every_constraint(model, batch_size):
    chip = model()
    for operation in (*alexnet(), *squeezenet()):
        mapping = chip.mapping(operation, batch_size)
        m, n, f, p, q, r, t = (getattr(mapping, name) for name in mapping.__struct_fields__)
        s = layer_shape(operation)
        size, out, stride = s.height, s.out_height, s.stride_height  # all square
        assert size == s.width
        assert s.kernel_height == s.kernel_width
        assert n * m * out * f + n * q * r * size * (stride * f + s.kernel_height - stride) <= 55_296
        assert s.kernel_height * f * r * t <= 168
        assert p * q * s.kernel_height + q * s.kernel_height + p <= 256
        assert q * r <= s.channels
        assert p * t <= m <= s.filters
        assert f <= s.out_width
        assert n <= batch_size
        assert [one.available - one.needed >= 0 for one in constraints(s, CHIP.hardware(), mapping)] == [True] * 5


# papers.md [4], derived by the same independent search.
@pytest.mark.parametrize(
    ("batch_size", "ratio", "share"),
    [(1, 0.41, 0.26), (4, 0.91, 0.56), (8, 1.14, None), (16, 1.30, 0.79), (48, 1.43, 0.88)],
)
def test_whether_squeezenet_takes_less_than_alexnet_depends_on_the_batch(batch_size, ratio, share):
    assert units(squeezenet(), batch_size=batch_size) / units(alexnet(), batch_size=batch_size) == pytest.approx(
        ratio, abs=0.006
    )
    convolutions = units(tuple(o for o in alexnet() if o.operator == "conv"), batch_size=batch_size)
    if share:
        assert convolutions / units(alexnet(), batch_size=batch_size) == pytest.approx(share, abs=0.006)


def test_what_a_mac_of_alexnet_costs_at_batch_4():
    report = Accelerator().estimate(Workload(inputs=1, batch_size=4, operations=alexnet()))
    for layer in report.layers:
        total = sum(layer.joules.values())
        each = total / CHIP.unit_joules / layer.macs
        if layer.operator == "conv":
            assert 5.85 < each < 6.75
            assert 0.565 < layer.joules["register file"] / total < 0.675
        else:
            assert each == pytest.approx(55.9, rel=5e-3)
            assert layer.joules["DRAM"] / total == pytest.approx(0.90, abs=0.006)


@pytest.mark.parametrize(
    ("operations", "batch_size", "chip", "dense", "unpadded", "coded"),
    [
        (tuple(o for o in alexnet() if o.operator == "conv"), 4, 0.0029, 0.0043, 0.0039, 0.0032),
        (vgg16_convolutions(), 3, 0.0035, 0.0047, 0.0045, 0.0035),
    ],
)  # the chip: abstract of Y.-H. Chen et al., JSSC 2017; the rest: docs/energy-models.md
def test_dram_words_per_mac_beside_the_eyeriss_chip(operations, batch_size, chip, dense, unpadded, coded):
    half = stored_words(16, 0.5, CHIP)
    totals = dict.fromkeys(("macs", "dense", "unpadded", "coded", "least"), 0.0)
    for operation in operations:
        shape = layer_shape(operation)
        words = accesses(shape, batch_size, search(shape, batch_size, CHIP.hardware())).dram
        read = math.prod(operation.input_shape[1:]) / (shape.height * shape.width)  # no padding
        totals["macs"] += batch_size * shape.macs
        totals["dense"] += words.total
        totals["unpadded"] += words.weights + words.inputs * read + words.sums
        totals["coded"] += words.weights + words.inputs * read * (1 if shape.channels == 3 else half)
        totals["coded"] += words.sums * half
        totals["least"] += shape.weights + batch_size * (shape.inputs * read + shape.outputs)
    found = {name: total / totals["macs"] for name, total in totals.items()}
    assert found["dense"] == pytest.approx(dense, abs=5e-5)
    assert found["unpadded"] == pytest.approx(unpadded, abs=6e-5)
    assert found["coded"] == pytest.approx(coded, abs=6e-5)
    assert found["least"] < chip < found["dense"]
    assert found["coded"] == pytest.approx(chip, rel=0.12)


@pytest.mark.parametrize("net", [alexnet, squeezenet, vgg16_convolutions])
def test_a_net_without_any_cached_mapping_is_quick(net):
    operations = net()
    search.cache_clear()
    started = time.process_time()
    units(operations)
    assert time.process_time() - started < 1.0  # of CPU: other jobs do not count


def test_squeezenet_costs_more_than_alexnet_in_a_large_batch_and_less_at_batch_1():
    # The paper's surprise: 50 times fewer weights, and more energy.
    assert units(squeezenet(), batch_size=48) > units(alexnet(), batch_size=48)
    assert units(squeezenet()) < units(alexnet())


def test_a_fully_connected_layer_is_mostly_dram_and_a_convolution_mostly_registers():
    parts = one(linear("fc", 4096, 4096))
    assert parts["DRAM"] / sum(parts.values()) > 0.9
    parts = one(conv("conv", 256, 13, 384, 3, padding=1, rows=4, calls=1), inputs=4, batch_size=4)
    assert max(parts, key=parts.get) == "register file"


@pytest.mark.parametrize("model", [Accelerator, horowitz, accelergy])
def test_operands_split_what_moves_data(model):
    report = model().estimate(Workload(inputs=1, batch_size=4, operations=squeezenet()))
    for layer in report.layers:
        assert list(layer.operands) == ["weights", "inputs", "outputs"]
        for component in PARTS - {"MAC"}:
            moved = [split[component] for split in layer.operands.values()]
            assert math.fsum(moved) == pytest.approx(layer.joules[component], rel=1e-12)
        assert layer.operands["weights"]["buffer"] == 0.0  # weights pass the buffer by
        assert min(split["DRAM"] for split in layer.operands.values()) > 0


def test_operands_of_a_linear_layer_at_batch_1():
    layer = Accelerator().estimate(Workload(inputs=1, batch_size=1, operations=(linear("fc", 500, 300),))).layers[0]
    dram = {operand: parts["DRAM"] / CHIP.unit_joules for operand, parts in layer.operands.items()}
    assert dram == pytest.approx({"weights": 200 * 500 * 300, "inputs": 200 * 500, "outputs": 200 * 300})


def test_a_report_adds_up_and_says_what_it_rests_on():
    report = Accelerator().estimate(Workload(inputs=1, batch_size=1, operations=alexnet()))
    assert report.model == report.joules.method.split()[0] == "row-stationary"
    assert report.joules.kind is Kind.MODELLED
    assert report.joules.unit == "J/input"
    assert [layer.layer for layer in report.layers] == [operation.layer for operation in alexnet()]
    assert all(set(layer.joules) == PARTS for layer in report.layers)
    assert report.joules.value == pytest.approx(math.fsum(j for layer in report.layers for j in layer.joules.values()))
    assert sum(layer.macs for layer in report.layers) == pytest.approx(724.4e6, rel=1e-4)
    assert report.coverage == 1.0
    assert report.joules.flags == ()
    assert any("native 16-bit" in line for line in report.assumptions)
    assert report.sources == CHIP.sources
    assert any("Horowitz" in source and "derived" in source for source in report.sources)
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report


def test_mac_energy_is_exactly_the_unit_for_each_mac():
    assert one(conv("c", 3, 8, 4, 3))["MAC"] == pytest.approx(4 * 36 * 27 * 0.85e-12, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_a_layer_that_half_of_the_inputs_reach_costs_as_in_half_a_batch(batch_size):
    inputs, rows = 20, 10
    half = one(linear("fc", 500, 300, rows=rows), inputs=inputs, batch_size=batch_size)
    reached = max(1, round(batch_size / 2))
    full = one(linear("fc", 500, 300, rows=reached), inputs=reached, batch_size=reached)
    assert half == {part: pytest.approx(full[part] / 2, rel=1e-12) for part in PARTS}


def test_fewer_rows_share_the_weights_less_well():
    all_rows = sum(one(linear("fc", 500, 300, rows=64), inputs=64, batch_size=64).values())
    few_rows = sum(one(linear("fc", 500, 300, rows=4), inputs=64, batch_size=64).values())
    assert all_rows / 16 < few_rows < all_rows


def test_a_layer_never_reached_costs_nothing_but_stays_in_the_report():
    assert one(linear("fc", 500, 300, rows=0), inputs=8, batch_size=4) == dict.fromkeys(PARTS, 0.0)


def test_sparsity_scales_each_kind_of_data_by_its_own_density():
    def words(level):
        return getattr(accesses(shape, 1, search(shape, 1, CHIP.hardware())), level)

    sparse = conv("c", 16, 10, 32, 3, weight_density=0.2, activation_density=0.5, joint_density=0.15)
    shape = Shape(channels=16, filters=32, height=10, width=10, kernel_height=3, kernel_width=3)
    assert layer_shape(sparse) == shape
    found = {part: joules / CHIP.unit_joules for part, joules in one(sparse).items()}
    run, half = stored_words(16, 0.2, CHIP), stored_words(16, 0.5, CHIP)
    expected = {
        "DRAM": 200 * (words("dram").weights * run + words("dram").inputs * half + words("dram").sums),
        "buffer": 6 * (words("buffer").inputs * half + words("buffer").sums),
        "array": 2 * (words("array").weights * 0.2 + words("array").inputs * 0.5 + words("array").sums),
        "register file": shape.macs * 0.2 + shape.macs * 0.5 + words("register").sums * 0.15,
        "MAC": shape.macs * 0.15,
    }
    assert found == {part: pytest.approx(value, rel=1e-12) for part, value in expected.items()}


def test_bits_scale_data_linearly_and_macs_by_their_product():
    wide = one(linear("fc", 500, 300, weight_bits=16, activation_bits=16))
    narrow = one(linear("fc", 500, 300, weight_bits=4, activation_bits=8))
    assert narrow["MAC"] == pytest.approx(wide["MAC"] / 8)
    dram = (500 * 300 * 4 + (500 + 300) * 8) / 16 * 200 * CHIP.unit_joules  # each datum crosses once at batch 1
    assert narrow["DRAM"] == pytest.approx(dram)


def test_data_wider_than_the_words_is_run_at_the_native_width_and_said_so():
    native = Workload(inputs=1, batch_size=1, operations=(linear("fc", 50, 30, weight_bits=16, activation_bits=16),))
    wide = Workload(inputs=1, batch_size=1, operations=(linear("fc", 50, 30),))
    native, wide = Accelerator().estimate(native), Accelerator().estimate(wide)
    assert native.joules.value == wide.joules.value
    assert set(wide.assumptions) - set(native.assumptions) == {
        "wider data is run as the accelerator's native 16-bit fixed point"
    }


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 0.9])
def test_stored_words_agree_with_coding_random_zeros(density):
    # Code 200,000 random elements: a run counter up to 31, then a value, zero or not.
    elements = np.random.default_rng(0).random(200_000) < density
    entries, run = 0, 0
    for nonzero in elements:
        if nonzero or run == 31:
            entries, run = entries + 1, 0
        else:
            run += 1
    coded = entries * (16 + 5) / 16 / elements.size
    assert stored_words(16, density, CHIP) == pytest.approx(min(1.0, coded), rel=0.03)


def test_dense_data_never_pays_for_an_index():
    assert stored_words(16, 1.0, CHIP) == 1.0
    assert stored_words(8, 0.9, CHIP) == 0.5
    assert stored_words(1, 0.5, CHIP) == 1 / 16  # a 5-bit run for each 1-bit value would be larger


def test_operators_that_are_not_described_lower_the_coverage_and_are_named():
    relu = Operation(layer="relu", operator="relu", input_shape=(30,), output_shape=(30,), rows=1, calls=1, macs=0)
    product = Operation(
        layer="attention", operator="matmul", input_shape=(4, 8), output_shape=(4, 4), rows=1, calls=1, macs=500
    )
    huge = conv("huge", 1, 400, 1, 200)  # 200 taps do not fit the registers
    workload = Workload(
        inputs=1, batch_size=1, operations=(linear("fc", 50, 30), relu, product, huge), unknown={"sort": 0.25}
    )
    report = Accelerator().estimate(workload)
    assert [layer.layer for layer in report.layers] == ["fc"]
    assert report.coverage == 1500 / (1500 + 500 + huge.macs)
    assert report.joules.flags == ("incomplete coverage", "unknown operators")
    notes = " | ".join(report.assumptions)
    assert "matmul of 'attention', 500 MACs" in notes
    assert f"does not fit the accelerator in any mapping: 'huge', {huge.macs} MACs: even the smallest" in notes
    assert "401 words of registers in an element (p q R + q R + p) and there are 256" in notes
    assert "unknown operator: sort, 25.00% of outputs" in notes
    assert "'relu'" not in notes


def test_a_layer_whose_width_changes_is_scaled_by_its_macs_and_said_so():
    whole = conv("c", 8, 10, 16, 3, rows=4)
    halved = msgspec.structs.replace(whole, macs=whole.macs // 2)
    joules, noted = (Accelerator().estimate(Workload(inputs=4, batch_size=2, operations=(o,))) for o in (whole, halved))
    assert noted.joules.value == pytest.approx(joules.joules.value / 2)
    assert any("0.5 times the MACs" in line for line in noted.assumptions)


def test_another_description_makes_another_model():
    cheap = msgspec.structs.replace(CHIP, name="near-memory", dram=20.0)
    workload = Workload(inputs=1, batch_size=1, operations=(linear("fc", 500, 300),))
    near, far = Accelerator(cheap).estimate(workload), Accelerator().estimate(workload)
    assert near.model == "near-memory"
    # At batch 1 a linear layer cannot reuse anything, so only the price of the same words changes.
    assert near.layers[0].joules["DRAM"] == pytest.approx(far.layers[0].joules["DRAM"] / 10)


def test_the_layers_of_resnet50_are_those_of_the_builder():
    assert sum(operation.macs for operation in resnet50()) == 4_089_184_256  # `joulemark profile resnet50`
    assert len(resnet50()) == 54
