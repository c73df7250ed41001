"""A profile in a terminal: bars, shares and sums by hand, what is unknown, names that are no markup."""

from __future__ import annotations

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_profile import layer, modelled, profile, quantity
from rich.console import Console

from joulemark.energy.model import energy_model
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import Beside, profile_net
from joulemark.profiling.profile_text import (
    BAR,
    as_renderables,
    bar,
    beside,
    figure,
    headline,
    joules_of,
    layer_table,
    legend,
    model_cells,
    model_table,
    part,
    picture,
    proxy_table,
    short,
    split,
)
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity


def rows_of(table):
    return [[str(cell) for cell in row] for row in zip(*(column.cells for column in table.columns), strict=True)]


def drawn(renderables, width=160):
    console = Console(width=width, file=io.StringIO())
    for one in renderables:
        console.print(one)
    return console.file.getvalue()


def test_operators_without_macs_are_summed_and_nothing_is_lost():
    layers = profile_net(
        open_net("lenet"), [energy_model(name) for name in ("row-stationary", "microcontroller")]
    ).layers
    listed, rest = split(layers)
    for model in ("row-stationary", "microcontroller"):
        total = sum(sum(one.joules.get(model, {}).values()) for one in layers)
        assert sum(sum(one.joules.get(model, {}).values()) for one in (*listed, *rest)) == pytest.approx(total)
    assert {one.layer for one in rest} == {"(2 x max_pool)", "(1 x relu)"}
    assert split(layers, everything=True) == (list(layers), [])


def test_a_stacked_bar_is_as_long_as_its_sum():
    parts = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert len(bar(parts, ("a", "b", "c"), 3.0)) == BAR
    assert len(bar(parts, ("a", "b", "c"), 6.0)) == BAR // 2
    assert bar({}, ("a",), 1.0) == bar(parts, ("a",), 0.0) == ""


def test_a_model_of_times_alone_is_drawn_in_seconds():
    class Clockwork:
        name, sources = "clockwork", ("invented for this test",)

        def estimate(self, workload):
            layers = tuple(
                LayerEnergy(layer=one.layer, operator=one.operator, joules={}, macs=one.macs, seconds=2e-6)
                for one in workload.operations
            )
            unknown = Quantity(value=None, unit="J/input", kind=Kind.MODELLED, method="m", scope="s", source="t",
                               reason="no power")  # fmt: skip
            seconds = msgspec.structs.replace(unknown, value=2e-6 * len(layers), unit="s/input", reason=None)
            return EnergyReport(model=self.name, joules=unknown, layers=layers, coverage=1.0, assumptions=(),
                                sources=self.sources, seconds=seconds)  # fmt: skip

    found = profile_net(open_net("lenet"), [Clockwork()])
    assert all(layer.seconds == {"clockwork": 2e-6} and not layer.joules for layer in found.layers)
    assert found.warnings == ()
    shown = drawn(as_renderables(found))
    assert "modelled s" in shown and "2.00 µs" in shown
    assert "per input; no power" in shown


parts_of = st.lists(st.floats(0, 1e3), min_size=1, max_size=10)


@given(parts_of, st.floats(1.0, 4.0), st.integers(1, 40))
def test_a_bar_is_half_a_character_from_its_sum_at_most_and_each_component_one(values, room, width):
    names = [f"c{i}" for i in range(len(values))]
    largest = sum(values) * room
    drawn_bar = bar(dict(zip(names, values, strict=True)), names, largest, width)
    if not largest:
        assert drawn_bar == ""
        return
    assert abs(len(drawn_bar) - width * sum(values) / largest) <= 0.5 + 1e-9
    if len(values) <= 8:  # then no two components share a character
        for name, value in zip(names, values, strict=True):
            glyph = legend(names).split("  ")[names.index(name)][0]
            assert abs(drawn_bar.count(glyph) - width * value / largest) < 1 + 1e-9


def test_the_component_that_lost_most_by_rounding_gets_the_character_that_is_left():
    assert bar({"a": 1.2, "b": 2.8}, ("a", "b"), 4.0, 4) == "█▓▓▓"


def test_a_component_that_is_missing_takes_no_room_and_keeps_its_character():
    assert bar({"b": 1.0}, ("a", "b"), 1.0, 4) == "▓▓▓▓"
    assert legend(("a", "b")) == "█ a  ▓ b"


@pytest.mark.parametrize(
    ("value", "total", "words"),
    [
        (0.0, 0.0, ""), (0.0, 1.0, "0%"), (1.0, 1.0, "100%"), (0.0004, 1.0, "<0.1%"), (0.0006, 1.0, "0.1%"),
        (0.094, 1.0, "9.4%"), (0.096, 1.0, "10%"), (1e-12, 2e-12, "50%"),
    ],
)  # fmt: skip
def test_small_shares_have_a_digit_more_and_the_smallest_are_not_called_zero(value, total, words):
    assert part(value, total) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, ""), (1, "1"), (999, "999"), (1000, "1 k"), (1_234, "1.23 k"), (2_293_000, "2.29 M"), (4.09e9, "4.09 G")],
)
def test_a_count_is_short(value, words):
    assert short(value) == words


def test_counts_are_written_in_full_and_bytes_with_a_prefix():
    assert (figure(431_080.0, ""), figure(1_724_320.0, "B")) == ("431,080", "1.72 MB")
    assert figure(0.0, "B") == "0 B"


RELUS = [layer("r1", "relu", bytes=10.0, joules={"toy": {"DRAM": 1.0}}),
         layer("r2", "relu", bytes=20.0, joules={"toy": {"DRAM": 2.0, "MAC": 5.0}, "other": {"all": 7.0}})]  # fmt: skip


def test_operators_without_macs_are_one_row_a_kind():
    conv, pool = layer("conv", macs=9.0), layer("p", "max_pool", bytes=5.0)
    listed, rest = split([RELUS[0], conv, pool, RELUS[1]])
    assert listed == [conv]
    assert [(one.layer, one.bytes, one.macs) for one in rest] == [
        ("(2 x relu)", 30.0, 0.0),
        ("(1 x max_pool)", 5.0, 0.0),
    ]
    assert rest[0].joules == {"toy": {"DRAM": 3.0, "MAC": 5.0}, "other": {"all": 7.0}}
    assert RELUS[0].joules == {"toy": {"DRAM": 1.0}}  # what was summed is as it was
    assert split([]) == ([], [])


def test_a_layer_that_a_model_does_not_describe_has_unknown_joules_and_no_row():
    assert joules_of(RELUS[1], "toy") == 7.0
    assert joules_of(RELUS[0], "other") is None
    one, none = layer("a", macs=10.0, joules={"toy": {"DRAM": 3e-6, "MAC": 1e-6}}), layer("b", macs=5.0)
    half = layer("c", macs=1500.0, joules={"toy": {"DRAM": 2e-6}})
    table = picture(modelled(components={"DRAM": 5e-6, "MAC": 1e-6}), [one, none, half])
    assert rows_of(table) == [
        ["a", "10", "4.00 µJ", "67%", "█" * 15 + "▓" * 5],
        ["c", "1.5 k", "2.00 µJ", "33%", "█" * 10],
    ]
    assert rows_of(picture(modelled("another"), [one])) == []


def test_seconds_are_drawn_only_where_a_model_gives_nothing_else():
    one = layer("a", macs=1.0, joules={"toy": {"all": 1e-6}}, seconds={"toy": 2e-3})
    clock = quantity(2e-3, unit="s/input")
    times = picture(modelled("toy", quantity(None, reason="no power"), seconds=clock), [one])
    assert rows_of(times) == [["a", "1", "2.00 ms", "100%", "█" * BAR]]
    both = picture(modelled("toy", components={"all": 1e-6}, seconds=clock), [one])
    assert rows_of(both)[0][2] == "1.00 µJ"


def test_how_many_inputs_reach_a_layer_is_told_of_a_dynamic_net_alone():
    rows = [layer("a", weights="4x1x3x3", macs=1.0), layer("b", rows=0.25, macs=1.0), split([RELUS[0]])[1][0]]
    still = rows_of(layer_table(profile(), rows))
    assert still[0] == ["a", "conv", "1x8x8 → 4x6x6", "4x1x3x3", "100"]
    assert still[2] == ["(1 x relu)", "relu", "", "", "10"]
    moving = rows_of(layer_table(profile(dynamic=True), rows))
    assert [row[4] for row in moving] == ["100%", "25%", ""]


def test_the_headline_tells_shape_batch_and_inputs():
    assert headline(profile()) == "toy-net: inputs of 1x8x8, batch 1, 1 random input"
    assert headline(profile(inputs=64, batch_size=16, dynamic=True)) == (
        "toy-net: inputs of 1x8x8, batch 16, 64 random inputs, averages: rows take different ways"
    )


def test_a_models_row_tells_interval_coverage_shares_and_why_nothing_is_known():
    known = quantity(3e-6, low=2e-6, high=5e-6, flags=("bounds", "odd"))
    one = modelled("toy", known, components={"DRAM": 2e-6, "MAC": 1e-6}, coverage=0.8)
    assert model_cells(one, partial=False) == (
        "toy",
        "3.00 µJ",
        "2.00 µJ to 5.00 µJ",
        "80%",
        "DRAM 67%, MAC 33%",
        "odd",
    )
    assert model_cells(one, partial=True)[3] == "80% of known"
    silent = modelled("toy", quantity(None, reason="no power"), seconds=quantity(1e-3, unit="s/input"))
    assert model_cells(silent, partial=False) == ("toy", "unknown", "", "100%", "", "1.00 ms per input; no power")


def test_what_does_not_fit_is_told_in_the_models_own_words():
    one = modelled("toy", quantity(1.0, flags=("does not fit",)), assumptions=("does not fit: too large", "else"))
    assert model_cells(one, partial=False)[5] == "does not fit: too large"


def test_a_published_figure_is_a_sentence_with_its_source():
    other = Beside(net="alexnet", joules=2e-3, ratio=1.5, source="Someone 2016", remark="a chip")
    assert beside([modelled("toy", quantity(3e-3), published=(other,)), modelled()]) == [
        "toy says 3.00 mJ for alexnet, 1.50 times the published 2.00 mJ: Someone 2016; a chip."
    ]
    assert beside([]) == []


def test_proxies_stand_under_their_words_and_an_unknown_one_under_its_name():
    table = proxy_table(profile(proxies={"macs_per_input": 12_298_240.0, "weight_bytes": 2048.0, "new_one": 3.0}))
    assert rows_of(table) == [["MACs per input", "12,298,240"], ["weight bytes", "2.05 kB"], ["new_one", "3"]]


def test_a_model_of_this_machine_is_not_called_another_machines():
    elsewhere = drawn(as_renderables(profile(models=[modelled()])))
    assert "Modelled, not measured, and not this machine." in elsewhere
    here = drawn(as_renderables(profile(models=[modelled(seconds=quantity(1.0, unit="s/input"))])))
    assert "Modelled, not measured.\n" in here


def test_notes_and_every_operator_are_shown_if_asked_for():
    one = profile(layers=[layer("conv", macs=2.0), *RELUS], notes=("Inputs are random numbers.",))
    assert "Inputs are random numbers." in drawn(as_renderables(one))
    assert "(2 x relu)" in drawn(as_renderables(one))
    everything = drawn(as_renderables(one, everything=True))
    assert "r1" in everything and "r2" in everything and "2 x relu" not in everything


def test_brackets_in_names_are_no_markup():
    evil = "[bold]x"
    one = profile(evil, [layer(evil, evil, macs=1.0, joules={evil: {evil: 1.0}})],
                  [modelled(evil, quantity(None, reason=evil), components={evil: 1.0})], notes=(evil,))  # fmt: skip
    said = drawn(as_renderables(one))
    assert "bold" in said and said.count("bold") == said.count(evil)
    assert rows_of(model_table(one))[0][0] == "\\[bold]x"


def test_macs_that_are_not_all_known_say_how_many_there_are_at_least():
    one = profile(
        proxies={"macs_per_input": None, "weight_bytes": None}, unknown={"odd": 0.25}, known_share=0.75,
        known_macs_per_input=12_384.0,
    )  # fmt: skip
    table = proxy_table(one)
    assert list(table.columns[1].cells) == ["unknown, at least 12,384: 75% of outputs known", "unknown"]
    assert b'"macs_per_input":null' in msgspec.json.encode(one)
