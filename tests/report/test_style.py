"""How figures look: no two techniques alike, round ticks inside their axis, lines that cross at the baseline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.report import style

NAMES = [f"t{i:02d}" for i in range(len(style.COLOURS) * len(style.SYMBOLS))]


def test_colour_and_symbol_pairs_are_unique():
    assert len(NAMES) >= 50
    assert len({(style.colour_of(NAMES, n), style.symbol_of(NAMES, n)) for n in NAMES}) == len(NAMES)


def test_the_first_techniques_differ_in_colour_alone_and_in_symbol_alone():
    assert len({style.colour_of(NAMES, n) for n in NAMES[:7]}) == 7
    assert len({style.symbol_of(NAMES, n) for n in NAMES[:8]}) == 8


def test_the_legends_character_goes_with_the_marker():
    glyphs = {style.symbol_of(NAMES, n): style.glyph_of(NAMES, n) for n in NAMES}
    assert all(style.glyph_of(NAMES, n) == glyphs[style.symbol_of(NAMES, n)] for n in NAMES)
    assert (glyphs["circle"], glyphs["square"], glyphs["x"]) == ("●", "■", "✖")


def test_a_colour_depends_on_the_place_alone():
    assert style.colour_of(["a", "b"], "b") == style.colour_of(["x", "y", "z"], "y")
    with pytest.raises(ValueError, match="'c' is not in list"):
        style.colour_of(["a", "b"], "c")


@pytest.mark.parametrize(("low", "high"), [(0.9, 4.5), (1.5e-4, 5e-4), (1e-9, 1.0), (1.01, 1.02)])
def test_log_ticks_lie_inside_and_are_few(low, high):
    ticks = style.log_ticks(low, high)
    assert len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.0, 1.0, [1.0]),
        (1.01, 1.02, []),
        (1.0, 10.0, [1.0, 2.0, 3.0, 5.0, 7.0, 10.0]),
        (1e-3, 1e-1, [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]),
        (1e-5, 1.0, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        (1e-9, 1.0, [1e-9, 1e-7, 1e-5, 1e-3, 1e-1]),
    ],
)
def test_ticks_by_hand(low, high, ticks):
    assert style.log_ticks(low, high) == ticks


@given(st.floats(-12, 9), st.floats(0.302, 15))
def test_an_axis_of_a_factor_of_two_or_more_has_two_to_six_round_ticks_in_order(start, decades):
    low, high = 10.0**start, 10.0 ** (start + decades)
    ticks = style.log_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    assert all(float(f"{tick:.2g}") == tick for tick in ticks)  # two digits say all of it


def test_an_empty_figure_has_no_ground_and_no_data_and_leaves_room_for_names():
    figure = style.blank(height=300, left=96)
    assert (figure.layout.height, figure.layout.margin.l, figure.layout.width) == (300, 96, None)
    assert not figure.data
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.showlegend is False
    assert style.blank(height=300).layout.margin.l < 96


def test_the_baseline_is_a_line_each_way_through_its_point():
    figure = style.blank(height=300)
    style.cross_hair(figure, 3.0, -0.5)
    upright, level = figure.layout.shapes
    assert (upright.x0, upright.x1, upright.yref) == (3.0, 3.0, "y domain")
    assert (level.y0, level.y1, level.xref) == (-0.5, -0.5, "x domain")
    assert {upright.layer, level.layer} == {"below"}
