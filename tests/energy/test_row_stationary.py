"""The mapping search against hand counts, a brute force in plain Python, and properties that any mapping must have."""

from fractions import Fraction
from itertools import product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.energy.row_stationary import Array, Costs, Mapping, NoMapping, accesses, constraints, search, unmet
from joulemark.energy.shapes import Shape

COSTS = {
    level: Costs.same(cost) for level, cost in {"dram": 200.0, "buffer": 6.0, "array": 2.0, "register": 1.0}.items()
}
MIXED = {  # registers, buffer and DRAM that tell their words apart, as in Accelergy's table
    "dram": Costs(weights=130.0, inputs=128.0, sums=64.0),
    "buffer": Costs(weights=4.5, inputs=1.0, sums=4.0),
    "array": Costs(weights=0.0, inputs=3.0, sums=0.5),
    "register": Costs(weights=2.0, inputs=0.2, sums=0.25),
}

shapes = st.builds(
    Shape,
    groups=st.integers(1, 3),
    channels=st.integers(1, 40),
    filters=st.integers(1, 40),
    height=st.integers(5, 20),
    width=st.integers(5, 20),
    kernel_height=st.integers(1, 3),
    kernel_width=st.integers(1, 3),
    stride_height=st.integers(1, 3),
    stride_width=st.integers(1, 3),
    dilation_height=st.integers(1, 2),
    dilation_width=st.integers(1, 2),
)
arrays = st.builds(
    Array,
    elements=st.integers(3, 168),
    buffer_words=st.integers(200, 20_000),
    register_words=st.integers(7, 256),
    **{name: st.just(cost) for name, cost in COSTS.items()},
)


def letters(mapping: Mapping) -> tuple[int, ...]:
    """m, n, f, p, q, r, t."""
    return (
        mapping.stored_filters,
        mapping.stored_images,
        mapping.columns,
        mapping.filters,
        mapping.channels,
        mapping.channel_sets,
        mapping.filter_sets,
    )


def fits(s: Shape, array: Array, m, n, f, p, q, r, t) -> bool:
    """The five constraints, written from the paper."""
    out_height = len(range(0, s.height - s.dilation_height * (s.kernel_height - 1), s.stride_height))
    touched = s.stride_width * f + (1 + s.dilation_width * (s.kernel_width - 1)) - s.stride_width
    return (
        n * m * out_height * f + n * q * r * s.height * touched <= array.buffer_words
        and s.kernel_width * f * r * t <= array.elements
        and p * q * s.kernel_height + q * s.kernel_height + p <= array.register_words
        and q * r <= s.channels
        and p * t <= m
    )


def energy(s: Shape, rows: int, array: Array, m, n, f, p, q, r, t) -> Fraction:
    """E_data of one layer in exact fractions, written from the formulas and for stride and dilation 1 only."""
    e, f_all = s.height - s.kernel_height + 1, s.width - s.kernel_width + 1
    w = f + s.kernel_width - 1
    alpha_v, alpha_h, beta_h = Fraction(e, s.height), Fraction(f_all, s.width), Fraction(f, w)
    n_w = s.groups * s.filters * s.channels * s.kernel_height * s.kernel_width
    n_i = s.groups * rows * s.channels * s.height * s.width
    n_o = s.groups * rows * s.filters * e * f_all
    big_m, c, size_r, size_s = s.filters, s.channels, s.kernel_height, s.kernel_width
    dram = (n_w * ceil(rows / n) * ceil(f_all / f), n_i * ceil(big_m / m) * alpha_h / beta_h, n_o)
    buffer = (0, n_i * ceil(big_m / (p * t)) * alpha_h / beta_h, 2 * n_o * (ceil(c / (q * r)) - 1))
    across = (
        n_w * ceil(rows / n) * f_all,
        n_i * ceil(big_m / p) * size_s * alpha_h,
        2 * n_o * (ceil(c / q) * size_s - ceil(c / (q * r))),
    )
    register = (
        n_w * rows * e * f_all,
        n_i * big_m * size_r * size_s * alpha_v * alpha_h,
        2 * n_o * (c * size_r * size_s - ceil(c / q) * size_s),
    )
    levels = ((array.dram, dram), (array.buffer, buffer), (array.array, across), (array.register, register))
    return sum(
        Fraction(cost) * words
        for costs, moved in levels
        for cost, words in zip((costs.weights, costs.inputs, costs.sums), moved, strict=True)
    )


def test_a_layer_counted_by_hand():
    # C = 2, M = 2, H = W = 3, R = S = 2, U = 1, so E = F = 2; 18 inputs, 16 weights, 8 outputs, 8 * 2 * 4 = 64 MACs.
    shape = Shape(channels=2, filters=2, height=3, width=3, kernel_height=2, kernel_width=2)
    assert (shape.inputs, shape.weights, shape.outputs, shape.macs) == (18, 16, 8, 64)
    # J = 4 holds one filter (S = 2) over f = 2 columns. RF = 9 holds p = 2, q = 1 (4 + 2 + 2 = 8) or p = 1, q = 2
    # (4 + 4 + 1 = 9). Q = 26 = all outputs (8) and all inputs (18).
    # p = 2, q = 1: DRAM   16 + 18 + 8 = 42, each datum once
    #               buffer 18 inputs once + 2 * 8 * (2 - 1) partial sums = 34
    #               array  16 * 2 + 18 * 1 * 2 * 2/3 + 2 * 8 * (2 * 2 - 2) = 32 + 24 + 32 = 88
    #               RF     64 + 64 + 2 * 8 * (8 - 4) = 192
    #               200 * 42 + 6 * 34 + 2 * 88 + 192 = 8972
    # p = 1, q = 2: 42, 2 * 18 = 36, 32 + 48 + 16 = 96, 64 + 64 + 96 = 224: 9032. f = 1 reads the weights twice.
    array = Array(elements=4, buffer_words=26, register_words=9, **COSTS)
    mapping = search(shape, 1, array)
    assert letters(mapping) == (2, 1, 2, 2, 1, 1, 1)
    found = accesses(shape, 1, mapping)
    assert [found.dram.total, found.buffer.total, found.array.total, found.register.total] == [42, 34, 88, 192]
    assert (found.dram.weights, found.dram.inputs, found.dram.sums) == (16, 18, 8)
    assert found.energy(array) == 8972


def test_more_registers_change_the_hand_counted_mapping_as_expected():
    # RF = 14 holds p = q = 2 (8 + 4 + 2): buffer 18, array 32 + 24 + 16 = 72, RF 224: 8400 + 108 + 144 + 224.
    shape = Shape(channels=2, filters=2, height=3, width=3, kernel_height=2, kernel_width=2)
    array = Array(elements=4, buffer_words=26, register_words=14, **COSTS)
    assert accesses(shape, 1, search(shape, 1, array)).energy(array) == 8876


BRUTE = [
    (Shape(channels=4, filters=6, height=4, width=5, kernel_height=2, kernel_width=2), 3, (8, 90, 14)),
    (Shape(channels=3, filters=5, height=3, width=6, kernel_height=1, kernel_width=3), 2, (12, 60, 9)),
    (Shape(groups=2, channels=5, filters=4, height=4, width=4, kernel_height=3, kernel_width=2), 2, (9, 70, 16)),
    (Shape(channels=12, filters=7, height=1, width=1), 4, (10, 40, 12)),
    (Shape(channels=6, filters=6, height=1, width=7, kernel_width=3), 2, (7, 45, 10)),
    # Two sets of channels leave room for all three sets of filters; a third would save no pass and crowd one out.
    (Shape(channels=4, filters=3, height=2, width=1), 1, (7, 55, 4)),
]


@pytest.mark.parametrize("costs", [COSTS, MIXED], ids=["same", "mixed"])
@pytest.mark.parametrize(("shape", "rows", "sizes"), BRUTE)
def test_no_integer_mapping_is_better(shape, rows, sizes, costs):
    elements, buffer_words, register_words = sizes
    array = Array(elements=elements, buffer_words=buffer_words, register_words=register_words, **costs)
    m, n, f, c = shape.filters, rows, shape.width - shape.kernel_width + 1, shape.channels
    ranges = (range(1, most + 1) for most in (m, n, f, m, c, c, m))
    best = min(energy(shape, rows, array, *x) for x in product(*ranges) if fits(shape, array, *x))
    chosen = search(shape, rows, array)
    assert energy(shape, rows, array, *letters(chosen)) == best
    assert accesses(shape, rows, chosen).energy(array) == pytest.approx(float(best), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, rows=st.integers(1, 9), array=arrays)
def test_the_mapping_fits_and_moves_what_must_move(shape, rows, array):
    try:
        mapping = search(shape, rows, array)
    except NoMapping as reason:  # then not even the smallest mapping fits
        assert not fits(shape, array, 1, 1, 1, 1, 1, 1, 1)
        assert str(reason) == "; ".join(unmet(shape, array))
        return
    assert not unmet(shape, array)
    assert all(one.needed <= one.available for one in constraints(shape, array, mapping))
    m, n, f, p, q, r, t = letters(mapping)
    assert min(m, n, f, p, q, r, t) >= 1
    assert n <= rows
    assert f <= shape.out_width
    assert m <= shape.filters
    assert fits(shape, array, m, n, f, p, q, r, t)
    dram = accesses(shape, rows, mapping).dram
    positions = range(0, shape.stride_width * shape.out_width, shape.stride_width)
    taps = range(0, shape.dilation_width * shape.kernel_width, shape.dilation_width)
    touched = len({start + tap for start in positions for tap in taps})
    assert dram.weights >= shape.weights
    assert dram.inputs >= rows * shape.groups * shape.channels * shape.height * touched * (1 - 1e-12)
    assert dram.sums == rows * shape.outputs


@settings(max_examples=60, deadline=None)
@given(shape=shapes, rows=st.integers(1, 9), array=arrays, more=st.integers(1, 5000))
def test_energy_does_not_grow_with_the_buffer(shape, rows, array, more):
    larger = Array(
        elements=array.elements,
        buffer_words=array.buffer_words + more,
        register_words=array.register_words,
        **COSTS,
    )
    try:
        small = accesses(shape, rows, search(shape, rows, array)).energy(array)
    except NoMapping:
        return
    assert accesses(shape, rows, search(shape, rows, larger)).energy(larger) <= small * (1 + 1e-12)


def test_a_larger_buffer_does_help_where_it_must():
    shape = Shape(channels=64, filters=64, height=18, width=18, kernel_height=3, kernel_width=3)
    small, large = (Array(elements=168, buffer_words=q, register_words=256, **COSTS) for q in (2_000, 50_000))
    spent = [accesses(shape, 4, search(shape, 4, a)).dram.total for a in (small, large)]
    assert spent[1] < spent[0] / 2


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Shape(channels=1, filters=1, height=5, width=5, kernel_width=5), r"5 elements \(S f r t\) and there are 4"),
        (Shape(channels=1, filters=1, height=20, width=5, kernel_height=9), r"19 words of registers .* there are 16"),
        # E + H w = 98 + 100 * 3
        (Shape(channels=1, filters=1, height=100, width=9, kernel_height=3, kernel_width=3), r"398 words of buffer"),
    ],
)
def test_a_layer_that_does_not_fit_names_the_constraint(shape, reason):
    array = Array(elements=4, buffer_words=390, register_words=16, **COSTS)
    with pytest.raises(NoMapping, match=reason) as error:
        search(shape, 1, array)
    assert ";" not in str(error.value)


def test_every_constraint_that_fails_is_named():
    array = Array(elements=4, buffer_words=10, register_words=6, **COSTS)
    found = unmet(Shape(channels=1, filters=1, height=9, width=9, kernel_height=5, kernel_width=5), array)
    assert [" ".join(line.split()[5:8]) for line in found] == ["50 words of", "5 elements (S", "11 words of"]


@pytest.mark.parametrize(
    ("level", "costs"), [("array", Costs.same(0.5)), ("array", Costs(weights=2.0, inputs=2.0, sums=7.0))]
)
def test_sums_that_cost_less_further_away_are_refused(level, costs):
    with pytest.raises(ValueError, match="must not fall"):
        Array(elements=4, buffer_words=1000, register_words=256, **{**COSTS, level: costs})


def test_negative_costs_are_refused():
    costs = {**COSTS, "dram": Costs(weights=-1.0, inputs=1.0, sums=1.0)}
    with pytest.raises(ValueError, match="negative"):
        Array(elements=4, buffer_words=1000, register_words=256, **costs)
