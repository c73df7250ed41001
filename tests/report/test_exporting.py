"""The command for the net of a row: its first trial's key, and nothing where there is no trial."""

from __future__ import annotations

from synthetic import FAST, make_results
from test_board import row_of, view_of

from joulemark.report.exporting import export_command, export_line


def test_the_key_is_that_of_a_trial_of_the_row():
    results = make_results()
    view = view_of(results, "seconds")
    _, verb, key, option, name = export_command(row_of(view, FAST.technique)).split()
    assert (verb, option, name) == ("export", "-o", "model.onnx")
    assert {one.technique for one in results.trials if one.key.startswith(key)} == {FAST.technique}


def test_a_row_without_a_trial_has_no_command():
    view = view_of(make_results(), "seconds")
    assert export_command(row_of(view, "squeezenet")) is None
    assert "squeezenet" not in export_line(view)


def test_the_line_gives_the_key_of_every_row_that_has_a_trial():
    view = view_of(make_results(), "seconds")
    line = export_line(view)
    for row in (*view.rows, *view.ineligible):
        assert all(f"{row.technique} {key[:12]}" in line for key in row.trials[:1])
    assert not export_line(type(view)(**{name: getattr(view, name) for name in view.__struct_fields__}
                                      | {"rows": (), "ineligible": ()}))  # fmt: skip


def test_nets_of_a_task_file_are_exported_with_it_and_those_of_a_session_in_there():
    row = row_of(view_of(make_results(), "seconds"), FAST.technique)
    assert export_command(row, "mine.py") == f"{export_command(row)} --task mine.py"
    assert export_command(row, "") == f'study.export("{FAST.technique}", "model.onnx")'
