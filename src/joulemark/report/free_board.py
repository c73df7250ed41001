"""The free board: what costs nothing and changes no weight, above the boards of the techniques."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.markup import escape

from joulemark.judging.statistics import certainly, ranks
from joulemark.record import FreeTrial, Ratio, Record
from joulemark.report.standing import margin_of
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import backend_name, interval, points, times, with_prefix

OPTION_WORDS = {
    "bf16": "bf16",
    "channels_last": "channels last",
    "compile": "torch.compile",
    "spin": "spinning threads",
    "static": "static shapes",
}


class FreeRow(Record, frozen=True, kw_only=True):
    """One setting."""

    rank: tuple[int, int] | None
    setting: str  # in words
    threads: int
    batch_size: int
    precision: str
    ratio: Ratio | None  # baseline cost / its cost: joules where they were measured, else seconds
    seconds: float | None  # per input
    cpu_seconds: float | None  # per input
    cpu_ratio: Ratio | None
    joules: float | None  # per input
    loss_points: float | None
    loss_bound: float | None
    same_class: float | None
    control: bool
    control_ratio: Ratio | None  # the baseline against itself (A/A), which the ratio must clear
    note: str

    @property
    def rank_text(self) -> str:
        """The rank as people write it: "1", or "2 to 4" when tied."""
        if self.rank is None:
            return "–"  # noqa: RUF001
        best, worst = self.rank
        return f"{best}" if best == worst else f"{best} to {worst}"


class FreeView(Record, frozen=True, kw_only=True):
    """The free board, ready to draw; ``rows`` are ranked, cheapest first, then what could not run."""

    cost: str  # "joules" or "seconds"
    baseline: str
    images: int
    rows: tuple[FreeRow, ...]
    lines: tuple[str, ...]  # what a reader must know


def build_free(trials: Sequence[FreeTrial], limit: float | None = None) -> FreeView | None:
    """The board of a suite's free trials; ``None`` without any. Raises ``ValueError`` for several nets or machines.

    What changes numbers (bf16) is judged as a technique is: with a ``limit`` in points, it is ranked only if the bound
    of its loss keeps to it.
    """
    if not trials:
        return None
    if len({(trial.net, trial.hardware_class) for trial in trials}) > 1:
        raise ValueError("one free board cannot compare several nets or machines: run `joulemark free` again")
    ran = [trial for trial in trials if trial.ratio is not None]
    cost = "joules" if ran and all(trial.joules_ratio is not None for trial in ran) else "seconds"
    known = [(trial, ratio) for trial in ran if (ratio := _ratio(trial, cost)) is not None]
    known.sort(key=lambda pair: -pair[1].value)
    outside = [pair for pair in known if limit is not None and _loses_more(pair[0], limit)]
    known = [pair for pair in known if pair not in outside]
    controls = [_control(trial, trials, cost) for trial, _ in known]
    widest = max(map(margin_of, controls), default=1.0)
    places = ranks([[ratio] for _, ratio in known], margin=widest)
    rows = [
        _row(trial, ratio, place, control)
        for (trial, ratio), place, control in zip(known, places, controls, strict=True)
    ]
    rows += [
        msgspec.structs.replace(row, note=f"{_over(row.loss_bound, limit)}; {row.note}".removesuffix("; "))
        for row in (_row(trial, ratio, None, _control(trial, trials, cost)) for trial, ratio in outside)
    ]
    rows += [_row(trial, None, None) for trial in trials if trial.ratio is None]
    control = next((trial for trial in trials if trial.control), trials[0])
    scored = next((trial.score.rows for trial in ran if trial.score is not None), 0)
    return FreeView(
        cost=cost, baseline=_words(control), images=scored, rows=tuple(rows), lines=_lines(trials, cost, widest)
    )


def _loses_more(trial: FreeTrial, limit: float) -> bool:
    """Whether a setting that changes numbers may lose more than ``limit`` points, as far as is known."""
    return trial.precision != "fp32" and (trial.loss_bound is None or trial.loss_bound > limit)


def _over(bound: float | None, limit: float | None) -> str:
    lost = "nobody knows what is lost" if bound is None else f"up to {points(bound)} points may be lost"
    return f"not ranked: {lost}, and the limit is {limit:g}"


def _ratio(trial: FreeTrial, cost: str) -> Ratio | None:
    return trial.joules_ratio if cost == "joules" else trial.ratio


def _control(trial: FreeTrial, trials: Sequence[FreeTrial], cost: str) -> Ratio | None:
    """The A/A control of a setting: in the blocks of its own group or, of older records and of joules, the only one."""
    only = next((_ratio(one, cost) for one in trials if one.control), None)
    return only if cost == "joules" else trial.control_ratio or only


def _row(trial: FreeTrial, ratio: Ratio | None, place: tuple[int, int] | None, control: Ratio | None = None) -> FreeRow:
    return FreeRow(
        rank=place,
        setting=_words(trial),
        threads=trial.threads,
        batch_size=trial.batch_size,
        precision=trial.precision,
        ratio=ratio,
        seconds=trial.seconds.value,
        cpu_seconds=trial.cpu_seconds.value,
        cpu_ratio=trial.cpu_ratio,
        joules=trial.joules.value,
        loss_points=trial.loss_points,
        loss_bound=trial.loss_bound,
        same_class=trial.agreement.same_class if trial.agreement is not None else None,
        control=trial.control,
        control_ratio=control,
        note=_note(trial, ratio, control),
    )


def _words(trial: FreeTrial) -> str:
    return ", ".join([backend_name(trial.backend), *(OPTION_WORDS.get(name, name) for name in trial.options)])


def _note(trial: FreeTrial, ratio: Ratio | None, control: Ratio | None) -> str:
    """What a reader must know about one setting."""
    if trial.reason is not None:
        return f"not measured: {trial.reason}"
    notes = []
    if trial.control:
        notes.append("the baseline against itself (A/A control)")
    elif ratio is not None and not certainly(ratio, margin=margin_of(control)):
        notes.append("cannot be told apart from the baseline")
    if trial.batch_size > 1:
        notes.append("throughput, not latency: an answer waits for its batch")
    if trial.cpu_ratio is not None and trial.cpu_ratio.high < 1.0:
        notes.append(f"{times(1 / trial.cpu_ratio.value)} times the CPU-seconds")
    if trial.precision == "bf16" and "-amx" not in trial.hardware_class:
        notes.append("no bf16 matrix unit (AMX) on this processor")
    if "compile" in trial.options and trial.ready_seconds is not None:
        notes.append(f"compiled in {trial.ready_seconds:.0f} s, once")
    return "; ".join([*notes, *trial.flags])


def _lines(trials: Sequence[FreeTrial], cost: str, widest: float) -> tuple[str, ...]:
    lines = [
        "Nothing here costs anything or changes a weight: a technique has to gain more than these. Each setting ran in"
        " shuffled blocks against the fp32 baseline on the suite's first backend at batch 1.",
        "Threads take more cores: seconds may fall while CPU-seconds rise. The loss is on validation images, one seed.",
    ]
    if widest > 1.0:
        lines.append(
            f"The baseline differs from itself (A/A) by up to {times(widest)}x: settings nearer than that share a rank."
        )
    if cost == "seconds":
        reason = next((trial.joules.reason for trial in trials if trial.joules.reason and not trial.reason), None)
        lines.append(
            f"Ranked by measured seconds: joules were not measured ({reason or 'no energy counter was read'})."
        )
    return tuple(lines)


def free_table(view: FreeView) -> RowsOrBlocks:
    """Draw the board for a terminal, however wide."""
    table = RowsOrBlocks(
        title="What is free", caption=escape("\n".join(view.lines)), title_justify="left", caption_justify="left"
    )
    for column, side in (("rank", "right"), ("setting", "left"), ("threads", "right"), ("batch", "right"),
                         (f"x {'cheaper' if view.cost == 'joules' else 'faster'}", "right"), ("per input", "right"),
                         ("CPU-s\nper input", "right"), ("validation\nloss", "right"), ("note", "left")):  # fmt: skip
        number = side == "right"
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in view.rows:
        cost, unit = (row.joules, "J") if view.cost == "joules" else (row.seconds, "s")
        table.add_row(
            row.rank_text, escape(row.setting), str(row.threads), str(row.batch_size),
            "" if row.ratio is None else f"{times(row.ratio.value)}\n{interval(row.ratio)}",
            "" if cost is None else with_prefix(cost, unit),
            "" if row.cpu_seconds is None else with_prefix(row.cpu_seconds, "s"),
            "" if row.loss_bound is None else f"≤ {points(row.loss_bound)}",
            escape(row.note),
            style="bold" if row.control else "dim" if row.ratio is None else None,
        )  # fmt: skip
    return table


def as_dict(view: FreeView | None) -> dict[str, Any] | None:
    """Turn the board into plain dicts, lists and numbers, for ``--json``."""
    plain: dict[str, Any] | None = msgspec.to_builtins(view)
    return plain
