"""An audit in a terminal: every figure in its column, and what is modelled or unknown said so."""

from __future__ import annotations

import io

import msgspec
import pytest
from made_audit import NEAR, layer, made, made_audit, quantity, ratio, timed
from rich.console import Console

from joulemark.auditing.audit_text import MOST_LAYERS, as_renderables, cells, joules_line, layer_sums

CONTROL = timed("one thread", (0.98, 1.0, 1.02), control=True)


def drawn(audit, width=4000):
    console = Console(width=width, file=io.StringIO())
    for part in as_renderables(audit):
        console.print(part)
    return console.file.getvalue()


def rows_of(table):
    return [[str(cell) for cell in row] for row in zip(*(column.cells for column in table.columns), strict=True)]


def tables(audit):
    return [one for one in as_renderables(audit) if hasattr(one, "columns")]


def test_the_layers_stand_with_the_heaviest_first_and_their_shares_of_all():
    layers = (layer("a", 1.0), layer("b", 3.0, "linear", 7.0), layer("a", 4.0))
    assert layer_sums(made_audit(layers=layers)) == [
        ("a", "conv", 100.0, 4.0, 0.5), ("b", "linear", 7.0, 3.0, 0.375), ("a", "conv", 100.0, 1.0, 0.125),
    ]  # fmt: skip
    assert layer_sums(made_audit(layers=())) == []
    assert layer_sums(made_audit(layers=[layer("a", 0.0)])) == [("a", "conv", 100.0, 0.0, 0.0)]


def test_light_layers_are_one_row_with_all_that_is_left():
    many = [layer(f"l{i:02d}", float(i + 1), macs=10.0) for i in range(MOST_LAYERS + 3)]
    table, _ = tables(made_audit(layers=many))
    rows = rows_of(table)
    assert len(rows) == MOST_LAYERS + 1
    assert rows[0][0] == f"l{MOST_LAYERS + 2:02d}"
    assert rows[-1] == ["3 more", "", "30", "6.00 J", "5.0%"]  # 1 + 2 + 3 of 120
    assert len(rows_of(tables(made_audit(layers=many[:MOST_LAYERS]))[0])) == MOST_LAYERS


def test_modelled_joules_stand_with_their_coverage_and_assumptions():
    said = " ".join(drawn(made_audit(CONTROL)).split())
    assert "toy-model: 4.00 µJ per input, modelled for an accelerator, not measured and not this machine;" in said
    assert "it describes 80% of the MACs. Assumes: weights fit the buffer." in said


def test_what_has_no_rule_or_no_joules_is_said():
    audit = made_audit(layers=())
    audit = msgspec.structs.replace(audit, workload=msgspec.structs.replace(audit.workload, unknown={"aten.fft": 0.25}))
    said = " ".join(drawn(audit).split())
    assert "toy-model: unknown per input" in said
    assert "No rule for aten.fft (25.0% of all output elements)." in said


def test_the_parts_stand_in_the_order_in_which_they_are_read():
    said = drawn(made_audit(CONTROL, notes=("A note.",)))
    parts = ["toy.onnx: 1,234,567 MACs per input; 80 inputs of 1x8x8 (folder, as it is)", "A note.", "Energy by layer",
             "What this machine gives", "Do this.", "The audit took 62 s."]  # fmt: skip
    places = [said.index(part) for part in parts]
    assert places == sorted(places)


def test_each_figure_of_a_way_stands_in_its_column():
    way = timed("two threads", (1.5, 1.6, 1.7), agreement=NEAR, cpu_seconds=quantity(3e-3))
    assert cells(way, random=False) == (
        "two threads", "1.60\n1.50 to 1.70", "2.00 ms", "3.00 ms", "97.5%\n94.3% to 98.9%", "2.00%\n≤ 30.0%", "",
    )  # fmt: skip


def test_random_inputs_say_nothing_of_outputs():
    way = timed("int8", (1.5, 1.6, 1.7), agreement=NEAR)
    assert cells(way, random=True)[4:6] == ("", "")
    shapeless = msgspec.structs.replace(NEAR, same_class=None, low=None, high=None)
    assert cells(timed("int8", (1.5, 1.6, 1.7), agreement=shapeless), random=False)[4:6] == ("", "2.00%\n≤ 30.0%")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, ""),
        ({"control": True}, "the baseline against itself (A/A)"),
        ({"batch_size": 8}, "throughput, not latency"),
        ({"control": True, "batch_size": 4}, "the baseline against itself (A/A); throughput, not latency"),
        (
            {"joules": quantity(0.5, "J/input"), "joules_ratio": ratio(1.1, 1.2, 1.3)},
            "500 mJ per input, 1.10 to 1.30 times fewer",
        ),
        ({"joules": quantity(0.5, "J/input")}, ""),
    ],
)
def test_what_a_reader_must_know_of_a_way_is_noted(changes, note):
    assert cells(timed("x", (1.5, 1.6, 1.7), **changes), random=False)[6] == note


def test_a_way_that_was_not_measured_has_no_figures_and_says_why():
    way = made("bf16", None, reason="no kernel")
    assert cells(way, random=False) == ("bf16", "", "", "", "", "", "not measured: no kernel")
    _, table = tables(made_audit(CONTROL, way))
    assert [row.style for row in table.rows] == [None, "dim"]


@pytest.mark.parametrize(
    ("joules", "words"),
    [
        ([], "Joules were not measured (no energy counter was read)."),
        ([None], "Joules were not measured (no energy counter was read)."),
        ([quantity(None, "J/input", reason="no RAPL")], "Joules were not measured (no RAPL)."),
        ([quantity(None, "J/input", reason="short"), quantity(0.5, "J/input")], "Joules were measured: see the notes."),
        ([quantity(0.0, "J/input")], "Joules were measured: see the notes."),
    ],
)
def test_what_is_known_of_joules(joules, words):
    assert joules_line(made_audit(*(timed("x", (1.0, 1.1, 1.2), joules=one) for one in joules))) == words


def test_brackets_in_names_are_no_markup():
    evil = "[i]x"
    audit = made_audit(timed(evil, (1.0, 1.1, 1.2)), made("y", None, reason=evil), layers=[layer(evil, 1.0)], net=evil,
                       inputs=evil, baseline=evil, advice=evil, notes=(evil,))  # fmt: skip
    assert drawn(audit).count(evil) == 8


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_fits_its_terminal_and_loses_no_figure(width):
    said = drawn(made_audit(CONTROL, timed("two threads", (1.5, 1.6, 1.7), agreement=NEAR)), width)
    assert max(map(len, said.splitlines())) <= width
    for figure in ("1.60", "97.5%", "2.00 ms", "3.00 µJ", "75.0%"):
        assert figure in said
