"""A profile, or two side by side, as one page: a file that needs no network and runs no script."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from joulemark.profiling.profile import Layer, Modelled, Profile
from joulemark.profiling.profile_text import (
    PROXIES,
    beside,
    headline,
    joules_of,
    model_cells,
    part,
    proxy,
    short,
    split,
)
from joulemark.profiling.side_by_side import Comparison, cells
from joulemark.report.style import COMPONENTS
from joulemark.report.template import page_environment
from joulemark.report.words import sentence_case, with_prefix


def render_profile(profiles: tuple[Profile, ...], comparison: Comparison | None = None) -> str:
    """Draw the page; every text is escaped, and the page's own policy forbids scripts and requests."""
    environment = page_environment("joulemark.profiling")
    environment.filters |= {"prefix": with_prefix, "short": short, "sentence_case": sentence_case}
    css = (files("joulemark.report") / "page.css").read_text(encoding="utf-8")
    return environment.get_template("profile.html").render(
        css=Markup(css),  # noqa: S704 - the package's own
        profiles=[_context(profile) for profile in profiles],
        comparison=comparison,
        lines=[] if comparison is None else [cells(line) for line in comparison.lines],
    )


def _context(profile: Profile) -> dict[str, Any]:
    """What the template needs of one net."""
    layers = [*itertools.chain(*split(profile.layers))]
    return {
        "profile": profile,
        "headline": headline(profile),
        "layers": layers,
        "proxies": [(words, proxy(profile, name)) for name, (words, _) in PROXIES.items()],
        "models": [_column(profile, layers, model) for model in profile.models],
        "beside": beside(profile.models),
    }


def _column(profile: Profile, layers: list[Layer], model: Modelled) -> dict[str, Any]:
    """What the template needs of one model."""
    components = tuple(model.components)
    return {
        "cells": model_cells(model, partial=bool(profile.unknown)),
        "model": model,
        "shades": _shades(components),
        "rows": _rows(layers, model.model, components),
    }


def _shades(components: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, COMPONENTS[at % len(COMPONENTS)]) for at, name in enumerate(components)]


def _rows(layers: list[Layer], model: str, components: tuple[str, ...]) -> list[dict[str, Any]]:
    """Layers with the pieces of their bars, in per cent of the longest."""
    known = [joules_of(one, model) for one in layers]
    largest, total = max((value or 0.0 for value in known), default=0.0), sum(value or 0.0 for value in known)
    return [
        {"joules": value, "share": part(value or 0.0, total),
         "pieces": _pieces(one.joules.get(model, {}), components, largest)}
        for one, value in zip(layers, known, strict=True)
    ]  # fmt: skip


def _pieces(
    parts: Mapping[str, float], components: tuple[str, ...], largest: float
) -> list[tuple[str, str, float, str]]:
    """Component, colour, per cent of the longest bar, words."""
    return [
        (name, colour, 100 * parts[name] / largest, f"{name}: {with_prefix(parts[name], 'J')}")
        for name, colour in _shades(components)
        if largest and parts.get(name)
    ]
