"""What there is: techniques, suites, tasks, meters, models, backends and nets, as rows for a table or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulemark.meters.source import PowerSensor, Source

Rows = list[dict[str, Any]]


def techniques() -> Rows:
    """Every technique with its paper and the knob that is searched."""
    from joulemark.techniques.technique import load_technique, technique_names

    rows = []
    for name in sorted(technique_names()):
        try:
            one = load_technique(name)
        except ValueError as error:  # one broken package must not hide the others
            rows.append(
                {"technique": name, "family": "", "paper": "", "knob": None, "what it does": f"cannot be used: {error}"}
            )
            continue
        rows.append(
            {"technique": one.name, "family": one.family, "paper": one.paper, "knob": one.knob,
             "what it does": one.summary}
        )  # fmt: skip
    return rows


def suites() -> Rows:
    """Every suite in the package."""
    from joulemark.benchmarking.suite_files import parse_suite, shipped_suites

    made = [parse_suite(text, where=name) for name, text in shipped_suites().items()]
    return [{"suite": s.name, "task": s.task.title, "techniques": ", ".join(s.techniques)} for s in made]


def tasks() -> Rows:
    """Every task in the package, with the net that its baseline is and the suites that ask it."""
    from joulemark.benchmarking.suite_files import parse_suite, shipped_suites
    from joulemark.benchmarking.task_files import load_task, shipped_tasks

    asked = [(s.task.name, s.name) for s in (parse_suite(text, where=name) for name, text in shipped_suites().items())]
    made = [load_task(name) for name in shipped_tasks()]
    return [
        {
            "task": task.name,
            "title": task.title,
            "data": task.data,
            "net": task.recipe.builder,
            "suites": ", ".join(suite for name, suite in asked if name == task.name),
        }
        for task in made
    ]


def meters(*, cited: bool = False) -> Rows:
    """Every source of energy: available with its scope, nested in another, a cross-check, or unavailable and why.

    ``cited`` adds where its update period and the uncertainty of its scale come from.
    """
    from joulemark.meters.probe import absent, probe, probe_checks, probe_counters, probe_power

    summed, _ = probe()
    sources, missing = probe_counters(nested=True)
    sensors, no_sensors = probe_power()
    paths = [source.path for source in summed]
    checks = probe_checks(paths)
    rows = [_meter(source, paths, cited=cited) for source in sources]
    rows += [_sensor(sensor, paths, cited=cited) for sensor in (*sensors, *checks)]
    for opened in (*summed, *sources, *sensors, *checks):
        opened.close()
    return rows + [
        {"meter": u.name, "status": "unavailable", "detail": u.reason, "fix": u.fix}
        for u in (*missing, *no_sensors, *absent())
    ]


def _meter(source: Source, summed: list[str], *, cited: bool) -> dict[str, Any]:
    """The row of a counter; one that is not summed says where it lies, so that nobody adds it."""
    from joulemark.meters.scope import contains, title

    told = f"{source.scope}, refreshed every {source.update_seconds:g} s, {_scale(source, cited=cited)}"
    if "energy_filtered" in getattr(source, "flags", ()):
        told += ", blurred by the processor (SGX)"
    if source.path in summed:
        return {"meter": source.name, "status": "available", "detail": told, "fix": ""}
    inside = [title(path) for path in summed if contains(path, source.path)]
    around = [title(path) for path in summed if contains(source.path, path)]
    where = f"inside {inside[0]}" if inside else f"around {', '.join(around)}" if around else "beside what is counted"
    return {"meter": source.name, "status": "nested", "detail": f"{where}, never added: {told}", "fix": ""}


def _sensor(sensor: PowerSensor, summed: list[str], *, cited: bool) -> dict[str, Any]:
    """The row of a power sensor: summed where its part has no counter, a second opinion where it has one."""
    from joulemark.meters.nvml import NvmlPower

    told = f"{sensor.scope}, watts refreshed every {sensor.update_seconds:g} s, {_scale(sensor, cited=cited)}"
    told += "; joules by sampling"
    if isinstance(sensor, NvmlPower):
        return {"meter": sensor.name, "status": "cross-check", "detail": f"{told}; never added", "fix": ""}
    if sensor.path in summed:
        return {"meter": sensor.name, "status": "available", "detail": told, "fix": ""}
    return {"meter": sensor.name, "status": "nested", "detail": f"in or around what is counted, never added: {told}",
            "fix": ""}  # fmt: skip


def _scale(sensor: Source | PowerSensor, *, cited: bool) -> str:
    """How far the scale may be off, and who says so."""
    gain = sensor.gain_uncertainty
    told = "scale unknown" if gain is None else f"scale known to {gain:.0%}"
    return f"{told} ({sensor.citation})" if cited else told


def models() -> Rows:
    """Every energy model with its variants, asked for as ``name:variant``, and its sources.

    The learned one needs a profile of this machine, and is listed without.
    """
    from joulemark.energy.device import BACKENDS
    from joulemark.energy.learned import SOURCES
    from joulemark.energy.model import LEARNED, Varied, energy_model, energy_model_names

    rows: Rows = []
    for name in energy_model_names():
        try:
            one = energy_model(name)
        except ValueError as error:  # one broken package must not hide the others
            rows.append({"model": name, "variants": "", "sources": f"cannot be used: {error}"})
            continue
        variants = ", ".join(one.variants) if isinstance(one, Varied) else ""
        rows.append({"model": name, "variants": variants, "sources": "; ".join(one.sources)})
    return [
        *rows,
        {"model": LEARNED, "variants": ", ".join(BACKENDS),
         "sources": "; ".join((*SOURCES, "each variant needs `joulemark calibrate --backend VARIANT` on this machine"))}
    ]  # fmt: skip


def backends() -> Rows:
    """Every backend and whether it runs here."""
    from joulemark.backends.backend import backend, backend_names

    rows = []
    for name in sorted(backend_names()):
        try:
            one = backend(name)
            status, title = one.unavailable() or "available", f"{one.title}, {one.precision}"
        except (ImportError, ValueError, TypeError) as error:
            status, title = f"unavailable: {error}", ""
        rows.append({"backend": name, "status": status, "detail": title})
    return rows


def metrics() -> Rows:
    """Every metric that a task may be judged by."""
    from joulemark.judging.metrics.metric import metric
    from joulemark.vocabulary import names

    rows = []
    for name in sorted(names("metric")):
        try:
            title = metric(name).title
        except ValueError as error:
            title = f"unavailable: {error}"
        rows.append({"metric": name, "what": title})
    return rows


def nets() -> Rows:
    """Every net that can be built by name."""
    from joulemark.nets.net import Net, builders, usual_input_shape

    rows: Rows = []
    for name in sorted(builders()):
        try:
            shape = usual_input_shape(name)
            parameters = Net(builder=name, input_shape=shape).parameters() if shape else None
        except ValueError as error:  # one broken package must not hide the others
            rows.append({"net": name, "input": f"cannot be built: {error}", "parameters": None})
            continue
        rows.append({"net": name, "input": shape, "parameters": parameters})
    return rows
