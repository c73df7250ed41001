"""The command that writes the net of a row as a file for others to run."""

from __future__ import annotations

from joulemark.report.rows import BoardView, Row

KEY_CHARACTERS = 12
"""Of a trial's key: enough to tell it from all others of a store."""


def export_command(row: Row, task_file: str | None = None) -> str | None:
    """What to type for the net of a row, that of its first seed; ``None`` for a row that has no trial.

    ``task_file`` builds the nets of a user's own task; those of one session's objects (empty) are exported in there.

    >>> export_command(Row(technique="int8", status="ranked", knobs=(), trials=("0123456789abcdef",)))
    'joulemark export 0123456789ab -o model.onnx'
    """
    if not row.trials:
        return None
    if task_file == "":
        return f'study.export("{row.technique}", "model.onnx")'
    return f"joulemark export {row.trials[0][:KEY_CHARACTERS]} -o model.onnx{_task(task_file)}"


def _task(task_file: str | None) -> str:
    return f" --task {task_file}" if task_file else ""


def export_line(view: BoardView) -> str:
    """One line below a board: the command, and the key of each row that has a trial; empty if none has."""
    keys = [f"{row.technique} {row.trials[0][:KEY_CHARACTERS]}" for row in (*view.rows, *view.ineligible) if row.trials]
    if view.task_file == "":
        return 'To export a row, in the session that ran it: study.export("int8", "model.onnx")' if keys else ""
    command = f"joulemark export KEY -o model.onnx{_task(view.task_file)}"
    return f"To export a row: {command}; KEY: {', '.join(keys)}" if keys else ""
