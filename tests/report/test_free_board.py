"""The free board's view: ranks with ties, what a reader must know, the page."""

from __future__ import annotations

import msgspec
import pytest

from joulemark.record import FreeTrial, Kind, Machine, Provenance, Quantity, Ratio
from joulemark.report.free_board import as_dict, build_free
from joulemark.report.page import environment


def quantity(value, unit="s/input", reason=None):
    return Quantity(value=value, unit=unit, kind=Kind.MEASURED, method="m", scope="s", source="s", reason=reason)


def trial(key, ratio=None, *, cpu=1.0, joules=None, **changes) -> FreeTrial:
    machine = Machine(
        hardware_class="test-2core", processor="p", cores=2, memory_bytes=None, accelerator=None, system="s",
        virtual=None, governor=None,
    )  # fmt: skip
    origin = Provenance(
        joulemark="0", commit=None, command="c", started="2026-01-01T00:00:00+00:00", machine=machine, versions={}
    )
    known = {
        "task": "t", "task_key": "k", "hardware_class": "test-2core", "seed": 0, "net": "n", "backend": "eager",
        "options": (), "threads": 1, "batch_size": 1, "precision": "fp32", "control": False,
        "ratio": ratio and Ratio(value=ratio, low=ratio / 1.1, high=ratio * 1.1, count=8),
        "seconds": quantity(1e-3 / ratio if ratio else None), "cpu_seconds": quantity(1e-3),
        "cpu_ratio": Ratio(value=cpu, low=cpu / 1.01, high=cpu * 1.01, count=8) if ratio else None,
        "joules": quantity(joules, "J/input", None if joules else "no counter"),
        "joules_ratio": joules and Ratio(value=joules, low=joules, high=joules, count=3),
    }  # fmt: skip
    return FreeTrial(key=key, provenance=origin, **{**known, **changes})


def test_rows_are_ranked_with_ties_and_what_could_not_run_stands_below():
    view = build_free([
        trial("a", 1.0, control=True), trial("b", 3.0), trial("c", 2.9), trial("d", reason="no compiler"),
    ])  # fmt: skip
    assert [row.rank for row in view.rows] == [(1, 2), (1, 2), (3, 3), None]
    assert view.rows[-1].note == "not measured: no compiler"
    assert view.cost == "seconds"
    assert "joules were not measured (no counter)" in view.lines[-1]


def ratio(low, high):
    return Ratio(value=(low * high) ** 0.5, low=low, high=high, count=8)


def test_what_meets_the_control_of_its_group_cannot_be_told_apart():
    view = build_free([
        trial("a", 1.0, control=True, control_ratio=ratio(0.99, 1.01)),
        trial("b", ratio=1.4, control_ratio=ratio(0.8, 1.3)),  # 1.27 to 1.54
        trial("c", ratio=1.4, control_ratio=ratio(0.99, 1.01)),
        trial("d", ratio=2.5, control_ratio=ratio(0.8, 1.3)),
    ])  # fmt: skip
    near = ["cannot be told apart" in row.note for row in sorted(view.rows, key=lambda row: row.ratio.value)]
    assert sorted(near[1:3]) == [False, True]
    assert near[0] is near[3] is False  # the control is named as such
    assert view.rows[0].rank == (1, 1)
    assert [row.rank for row in view.rows[1:]] == [(2, 4)] * 3  # by the widest control, 1.3: 1.4 / 1.0 is 1.22 to 1.60
    assert any("differs from itself (A/A) by up to 1.30x" in line for line in view.lines)


def test_older_records_fall_back_to_the_one_control():
    view = build_free([trial("a", 1.0, control=True), trial("b", 1.2), trial("c", 1.3)])  # A/A 0.91 to 1.10
    notes = {row.ratio.value: row.note for row in view.rows}
    assert "cannot be told apart from the baseline" in notes[1.2]  # 1.09 to 1.32
    assert "cannot be told apart" not in notes[1.3]  # 1.18 to 1.43


def test_notes_say_what_a_ratio_hides():
    view = build_free([
        trial("a", 1.0, control=True),
        trial("b", 2.0, batch_size=64, threads=2, cpu=0.5),
        trial("c", 0.8, precision="bf16", options=("bf16",)),
    ])  # fmt: skip
    notes = {row.setting + str(row.batch_size): row.note for row in view.rows}
    assert "A/A control" in notes["eager PyTorch1"]
    assert "throughput, not latency" in notes["eager PyTorch64"]
    assert "2.00 times the CPU-seconds" in notes["eager PyTorch64"]
    assert "no bf16 matrix unit" in notes["eager PyTorch, bf161"]


@pytest.mark.parametrize(("bound", "ranked"), [(0.9, True), (1.0, True), (1.1, False), (None, False)])
def test_what_changes_numbers_is_ranked_only_within_the_limit(bound, ranked):
    view = build_free(
        [trial("a", 1.0, control=True), trial("b", 3.0, precision="bf16", loss_bound=bound), trial("c", 2.0)], 1.0
    )
    row = next(one for one in view.rows if one.precision == "bf16")
    assert (row.rank is not None) is ranked
    assert next(one.rank for one in view.rows if one.rank is not None and one is not row) == (
        (2, 2) if ranked else (1, 1)
    )
    assert ("not ranked: " in row.note) is not ranked
    if bound == 1.1:
        assert "up to 1.10 points may be lost, and the limit is 1;" in row.note
    assert view.rows[-1] is not row or not ranked


def test_exact_settings_are_ranked_whatever_their_bound():
    view = build_free([trial("a", 1.0, control=True), trial("b", 3.0, loss_bound=5.0)], 1.0)
    assert all(row.rank is not None for row in view.rows)


def test_joules_rank_where_all_have_them():
    view = build_free([trial("a", 1.0, control=True, joules=1.0), trial("b", 2.0, joules=0.5)])
    assert view.cost == "joules"
    assert view.rows[0].control


def test_boards_of_several_nets_are_refused_and_none_is_none():
    with pytest.raises(ValueError, match="cannot compare several nets"):
        build_free([trial("a", 1.0), trial("b", 1.0, net="other")])
    assert build_free([]) is None
    assert as_dict(None) is None


def test_the_page_section_escapes():
    hostile = trial("a", reason="<script>alert(1)</script>")
    drawn = environment().get_template("free.html").render(free=build_free([trial("b", 1.0, control=True), hostile]))
    assert "<script" not in drawn
    assert "What is free" in drawn
    assert environment().get_template("free.html").render(free=None).strip() == ""
    assert msgspec.json.encode(as_dict(build_free([trial("b", 1.0)])))
