"""What there is: techniques, suites, meters, models, backends and nets, as rows for a table or JSON."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]


def techniques() -> Rows:
    """Every technique with its paper and the knob that is searched."""
    from joulemark.techniques.technique import load_technique, technique_names

    made = [load_technique(name) for name in sorted(technique_names())]
    return [
        {"technique": one.name, "family": one.family, "paper": one.paper, "knob": one.knob, "what it does": one.summary}
        for one in made
    ]


def suites() -> Rows:
    """Every suite in the package."""
    from joulemark.benchmark.suite import parse_suite, shipped_suites

    made = [parse_suite(text, where=name) for name, text in shipped_suites().items()]
    return [{"suite": s.name, "task": s.task.title, "techniques": ", ".join(s.techniques)} for s in made]


def meters() -> Rows:
    """Every energy counter: available with its scope, or not and why."""
    from joulemark.meters.probe import probe

    sources, unavailable = probe()
    rows = [
        {
            "meter": s.name,
            "status": "available",
            "detail": f"{s.scope}, refreshed every {s.update_seconds:g} s",
            "fix": "",
        }
        for s in sources
    ]
    for source in sources:
        source.close()
    return rows + [{"meter": u.name, "status": "unavailable", "detail": u.reason, "fix": u.fix} for u in unavailable]


def models() -> Rows:
    """Every energy model with its sources."""
    from joulemark.energy.model import energy_model, energy_model_names

    return [{"model": name, "sources": "; ".join(energy_model(name).sources)} for name in energy_model_names()]


def backends() -> Rows:
    """Every backend and whether it runs here."""
    from joulemark.backends.backend import backend, backend_names

    rows = []
    for name in sorted(backend_names()):
        try:
            one = backend(name)
            status, title = one.unavailable() or "available", f"{one.title}, {one.precision}"
        except ImportError as error:
            status, title = f"unavailable: {error}", ""
        rows.append({"backend": name, "status": status, "detail": title})
    return rows


def nets() -> Rows:
    """Every net that can be built by name."""
    from joulemark.nets.net import Net, builders, usual_input_shape

    rows = []
    for name in sorted(builders()):
        shape = usual_input_shape(name)
        parameters = Net.new(name, shape, seed=0).parameters() if shape else None
        rows.append({"net": name, "input": shape, "parameters": parameters})
    return rows
