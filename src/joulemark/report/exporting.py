"""The command that writes the net of a row as a file for others to run."""

from __future__ import annotations

from joulemark.report.rows import BoardView, Row

KEY_CHARACTERS = 12
"""Of a trial's key: enough to tell it from all others of a store."""


def export_command(row: Row) -> str | None:
    """What to type for the net of a row, that of its first seed; ``None`` for a row that has no trial.

    >>> export_command(Row(technique="int8", status="ranked", knobs=(), trials=("0123456789abcdef",)))
    'joulemark export 0123456789ab -o model.onnx'
    """
    return f"joulemark export {row.trials[0][:KEY_CHARACTERS]} -o model.onnx" if row.trials else None


def export_line(view: BoardView) -> str:
    """One line below a board: the command, and the key of each row that has a trial; empty if none has."""
    keys = [f"{row.technique} {row.trials[0][:KEY_CHARACTERS]}" for row in (*view.rows, *view.ineligible) if row.trials]
    return f"To export a row: joulemark export KEY -o model.onnx; KEY: {', '.join(keys)}" if keys else ""
