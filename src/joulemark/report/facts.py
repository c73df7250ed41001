"""What stands behind the boards, in plain words: what was measured, what was modelled, what was not, and where from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemark.judging.stability import CONTROL_WARNINGS, control_warnings, warnings
from joulemark.record import Ratio, Timing
from joulemark.report.results import Results
from joulemark.report.rows import BoardView
from joulemark.report.words import METER_FLAGS, backend_name, meter_flag, sentence_case, with_prefix
from joulemark.task import BASELINE


def joules_measured(results: Results) -> bool:
    """Whether any counter was read."""
    return any(timing.joules.value is not None for trial in results.trials for timing in trial.timings)


def all_timings(results: Results) -> list[Timing]:
    """Every timing of every trial."""
    return [timing for trial in results.trials for timing in trial.timings]


def measured(results: Results) -> list[str]:
    """List what a clock or a counter said."""
    timings = all_timings(results)
    facts = []
    if timings:
        blocks = [len(timing.blocks) for timing in timings]
        shape = f"{min(blocks)}" if min(blocks) == max(blocks) else f"{min(blocks)} to {max(blocks)}"
        facts.append(
            f"Seconds per input of the compiled net, in {shape} shuffled blocks of baseline, candidate, baseline; "
            "the ratio is paired within a block, and its 95 % interval is that of the midmean over blocks."
        )
    images = {score.rows for trial in results.trials for score in trial.scores.values()}
    if images:
        number = " or ".join(f"{count:,}" for count in sorted(images))
        facts.append(
            f"{sentence_case(results.metric_title)} of the very objects that were timed, on {number} test rows, once."
        )
    if joules_measured(results):
        scopes = sorted({f"{t.joules.method}, {t.joules.scope}" for t in timings if t.joules.value is not None})
        facts.append(f"Joules per input ({'; '.join(scopes)}).")
    facts.append("Making: wall seconds, CPU-seconds and image passes of every attempt, losers included.")
    return facts


def modelled(results: Results) -> list[str]:
    """List what was computed from operations and constants, with the assumptions."""
    facts = []
    for model in results.models:
        reports = [report for trial in results.trials for report in trial.models if report.model == model]
        if not reports:
            facts.append(f"{model}: no trial has this model.")
            continue
        coverage = min(report.coverage for report in reports)
        assumptions = list(dict.fromkeys(text for report in reports for text in report.assumptions))
        sources = list(dict.fromkeys(text for report in reports for text in report.sources))
        known = any(report.joules.value is not None for report in reports)
        what = "joules per input of an accelerator" if known else "seconds per input and no joules"
        text = f"{model}: {what}, from the operations that really ran; "
        text += f"it describes at least {100 * coverage:.0f} % of the executed MACs."
        text += f" Assumes: {'; '.join(assumptions)}." if assumptions else ""
        text += f" Constants from: {'; '.join(sources)}." if sources else ""
        if known:
            text += " Its interval holds the spread between seeds only, not the model's own error."
        facts.append(text)
    return facts


def not_measured(results: Results) -> list[str]:
    """List what nobody should read into this page."""
    facts = []
    if not joules_measured(results):
        facts.append("Joules of this machine: no counter was read. Being faster is no proof of using fewer joules.")
    paced = any(trial.paced for trial in results.trials)
    idle = "the idle time between them" + (" (but under Paced, which has it)" if paced else "")
    facts += [
        "Other hardware: a ranking here says nothing of another machine.",
        f"Data loading, decoding and sending of inputs, and {idle}.",
        "Making the hardware, cooling, and losses of the power supply.",
    ]
    return facts


def baseline_speeds(results: Results) -> list[str]:
    """How fast the fp32 baseline itself is on every backend, and which of them the headline divides by."""
    facts = []
    for batch_size in results.batch_sizes:
        speeds = results.table.speeds[batch_size]
        listed = ", ".join(f"{backend_name(name)} {with_prefix(value, 's')}" for name, value in speeds.items())
        if listed:
            fastest = results.table.references[batch_size]
            text = f" The headline divides by {named(fastest)}." if fastest else ""
            facts.append(f"Baseline at batch {batch_size}, per input: {listed}.{text}")
    return facts


def denominator(view: BoardView) -> str:
    """Say in words what the ratios of a measured board divide by; empty for a model."""
    if not view.board.needs_real:
        return ""
    what = "joules" if view.board.cost == "joules" else "seconds"
    if not view.reference:
        return f"{what} of the fp32 baseline over {what} of the row, both on the same backend, batch {view.batch_size}"
    text = f"{what} of the fp32 baseline on {named(view.reference)} over {what} of the row, batch {view.batch_size}"
    if any(view.elsewhere(row) for row in view.ranked):
        text += "; the ratio to the baseline on the row's own backend stands below it"
    return text


def named(backends: Sequence[str]) -> str:
    """Name the fastest backend, or those that were the fastest in turn."""
    names = " or ".join(backend_name(name) for name in backends)
    return f"{names} (the fastest fp32 backend here)" if len(backends) == 1 else f"{names}, whichever was faster"


def unsteady(results: Results) -> list[str]:
    """Say what made the machine unsteady while trials were measured: how many trials, and the words of one.

    The A/A control is judged in every setting: it says of each backend and batch size what can be resolved there.
    """
    facts = []
    judged = [(trial, warnings(trial)) for trial in results.trials if trial.warnings]
    for name in dict.fromkeys(name for trial, _ in judged for name in trial.warnings):
        told = [(trial, found[name]) for trial, found in judged if name in found and name not in CONTROL_WARNINGS]
        if told:
            trial, sentence = told[-1]
            count = f"{len(told)} of {len(results.trials)} trials"
            facts.append(f"{sentence_case(name)} ({count}): {sentence} ({trial.technique}, seed {trial.seed}).")
    for seed, trial in sorted(results.baselines.items()):
        for timing in trial.timings:
            found = control_warnings(timing)
            facts += [f"{sentence_case(name)}: {sentence} (seed {seed})." for name, sentence in found.items()]
    return facts


def control(view: BoardView) -> str:
    """Say how well a board tells the baseline from itself, backend by backend: the A/A control. Empty without one."""
    told = [_control(name, ratio) for name, ratio in view.controls.items()]
    if not told:
        return ""
    off = any(not ratio.low <= 1.0 <= ratio.high for ratio in view.controls.values())
    text = f"A/A control, the baseline against itself at batch {view.batch_size}: {', '.join(told)}."
    return text + (" Where it does not hold 1, distrust small differences." if off else "")


def _control(backend: str, ratio: Ratio) -> str:
    return f"{backend_name(backend)} {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def unseen(results: Results) -> list[str]:
    """What could disturb a trial and cannot be seen on this machine, so that no warning could have named it."""
    seen = [trial.conditions for trial in results.trials]
    if not seen:
        return []
    known = [conditions for conditions in seen if conditions is not None]
    what: dict[str, Sequence[float | None]] = {
        "whether a core was slowed down because of heat": [one.throttles for one in known],
        "CPU time of other programs": [one.busy_cpu_seconds for one in known],
        "CPU time that a hypervisor took": [one.stolen_seconds for one in known],
    }
    facts = [f"{name} cannot be seen here" for name, values in what.items() if any(value is None for value in values)]
    old = len(seen) - len(known)
    return facts + ([f"what else ran during {old} of {len(seen)} trials was not recorded"] if old else [])


def provenance(results: Results) -> list[tuple[str, str]]:
    """Where the records come from, each different value once."""
    origins = [record.provenance for record in results.trials] or [a.provenance for a in results.attempts]
    machines = [origin.machine for origin in origins]
    loads = [origin.load_average for origin in origins if origin.load_average is not None]
    started = sorted(origin.started for origin in origins)
    notes = [
        f"{trial.technique}, {key.replace('_', ' ')}: {value}"
        for trial in results.trials
        for key, value in trial.notes.items()
        if isinstance(value, str | int | float)  # tables of a technique's inner steps stay in the raw records
    ]
    checks = [f"{c.name}: {c.detail}" for o in origins for c in o.checks if c.ok is False]
    flags = [
        f"{meter_flag(flag)}: {METER_FLAGS[flag]}" if flag in METER_FLAGS else flag
        for timing in all_timings(results)
        for flag in (*timing.seconds.flags, *timing.joules.flags)
    ]
    lines: list[tuple[str, list[str]]] = [
        ("Command", [results.command]),
        ("Hardware class", [results.hardware_class]),
        ("Processor", [f"{m.processor}, {m.cores} cores" for m in machines]),
        ("Memory", [with_prefix(m.memory_bytes, "B") for m in machines if m.memory_bytes is not None]),
        ("Accelerator", [m.accelerator or "none" for m in machines]),
        ("System", [m.system + virtual_text(m.virtual) for m in machines]),
        ("Governor", [m.governor or "unknown" for m in machines]),
        ("Seeds", [", ".join(str(seed) for seed in sorted({record.seed for record in results.attempts}))]),
        ("Measured", [f"{started[0]} to {started[-1]}"] if started else []),
        ("Commit", [origin.commit or "unknown" for origin in origins]),
        (
            "Versions",
            [", ".join(f"{k} {v}" for k, v in {"joulemark": o.joulemark, **o.versions}.items()) for o in origins],
        ),
        ("Load average", [f"{min(loads):.2f} to {max(loads):.2f}"] if loads else ["unknown"]),
        ("Not quiet", checks),
        ("Not seen", [sentence_case(text) for text in unseen(results)]),
        ("Precision, threads", [f"{t.backend}: {t.precision}, {t.threads} threads" for t in all_timings(results)]),
        ("Notes", notes),
        ("Flags", flags),
    ]
    return [(name, value) for name, values in lines for value in dict.fromkeys(values) if value]


def virtual_text(virtual: bool | None) -> str:
    """Say whether the machine is virtual, if that is known."""
    return "" if virtual is None else (", virtual machine" if virtual else ", bare metal")


def label(results: Results) -> dict[str, Any]:
    """Facts for the label card that do not depend on a board."""
    started = sorted(trial.provenance.started for trial in results.trials)
    return {
        "date": started[-1][:10] if started else "",
        "seeds": len({trial.seed for trial in results.trials if trial.technique != BASELINE}),
        "joules": "measured" if joules_measured(results) else "not measured here",
    }
