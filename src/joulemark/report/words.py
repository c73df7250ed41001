"""Numbers and names as people read them: "2.1x", "86 µs", "3 h 20 min", "strength 0.003"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from joulemark.judging.settings import links_of
from joulemark.record import Ratio

BACKENDS = {
    "onnxruntime": "ONNX Runtime",
    "eager": "eager PyTorch",
    "sparse": "sparse PyTorch",
    "openvino": "OpenVINO",
    "binary": "binary kernels",
    "cuda": "CUDA",
}
METER_FLAGS = {
    "too_short": "the window is under 20 updates of the meter",
    "wrapped": "the counter passed its end and began anew; corrected",
    "reset": "the counter was reset",
    "gap": "the counter was not read for so long that it may have wrapped unseen",
    "implausible": "the counter rose faster than the part can use energy",
    "stuck": "the counter stood still",
    "unread": "the meter could not be read",
    "suspended": "the machine slept",
    "starved": "the sampler was kept from reading",
    "partial": "a part of the machine whose counter cannot be read is not in it (`joulemark doctor`)",
    "contended": "other programs used the processor or held the board",
    "throttled": "clocks were held down, by heat or by a power cap",
    "left_running": "a process of the command ran on when it had ended",
    "disagrees": "the counter and the power of the same board differ by over 5 %",
    "idle_drift": "idle power was another before than after",
    "gain_unknown": "nobody knows how far the meter's scale is off",
    "system_model": "the operating system's estimate of what the chip uses, not a measurement",
    "energy_filtered": "the processor blurs its counter on purpose (SGX)",
    "mirrored": "dies that show one counter are counted once",
    "drift": "joules per iteration changed within the window",
}
"""What a meter says of its joules: the word in a record, and what it means."""
PREFIXES = {0: "", -1: "m", -2: "µ", -3: "n", -4: "p", 1: "k", 2: "M", 3: "G"}


def meter_flag(flag: str) -> str:
    """Name of a meter's flag in prose: "gain unknown"."""
    return flag.replace("_", " ")


def backend_name(backend: str) -> str:
    """Name of a backend in prose; an unknown one keeps its own."""
    return BACKENDS.get(backend, backend)


def times(value: float) -> str:
    """Write a ratio with three digits that matter: "0.87", "2.10", "13.4"."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval(ratio: Ratio) -> str:
    """Write the ends of an interval: "2.0 to 2.2"."""
    return f"{times(ratio.low)} to {times(ratio.high)}"


def in_points(limit: float) -> str:
    """Write a limit: "1 point", "0.5 points"."""
    return f"{limit:g} {'point' if limit == 1 else 'points'}"


def with_prefix(value: float | None, unit: str, *, short: bool = False) -> str:
    """Write a value with an SI prefix and three digits (``short``: without zeros at the end).

    >>> with_prefix(8.6e-5, "s")
    '86.0 µs'
    >>> with_prefix(None, "J")
    'unknown'
    """
    if value is None:
        return "unknown"
    if value == 0:
        return f"0 {unit}"
    value = float(f"{value:.3g}") if abs(value) < 1e12 else value  # which may be the next power
    power = min(max(math.floor(math.log10(abs(value)) / 3), -4), 3)
    scaled = value / 1000.0**power
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if abs(scaled) < 100 else 0
    text = f"{scaled:.{digits}f}"
    if short and "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {PREFIXES[power]}{unit}"


def duration(seconds: float) -> str:
    """Write a time that people wait: "41 s", "12 min", "3 h 20 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float) -> str:
    """Write a count: "980", "12.5 k", "3.1 M"."""
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1e3:.0f} k" if value < 1e6 else f"{value / 1e6:.1f} M"


def points(value: float) -> str:
    """Write a loss in points; a gain has a minus sign of its own width."""
    return f"{value:.2f}".replace("-", "−") if round(value, 2) else "0.00"  # noqa: RUF001


def sentence_case(text: str) -> str:
    """Raise the first letter and leave the rest ("executed MACs" keeps its MACs)."""
    return text[:1].upper() + text[1:]


def knobs(technique: str, settings: Sequence[Mapping[str, Any]]) -> str:
    """Write knobs and their values, those of a chain with the names of its links.

    A link that stands in a chain twice is written once, or where its knobs differ, with its places.

    >>> knobs("small-dense", [{"strength": 0.003, "epochs": 6}])
    'strength 0.003, epochs 6'
    >>> knobs("a+int8+a", [{"x": 1}, {"images": 256}, {"x": 2}])
    'a.1.x 1, int8.images 256, a.3.x 2'
    """
    links = links_of(technique)
    if len(settings) == 1:
        return ", ".join(_knob(name, value) for name, value in settings[0].items())
    if len(links) != len(settings):  # in a record that was edited
        links = [technique] * len(settings)
    parts: list[str] = []
    for place, (link, own) in enumerate(zip(links, settings, strict=True)):
        alike = all(settings[other] == own for other, name in enumerate(links) if name == link)
        head = link if alike else f"{link}.{place + 1}"
        if not alike or link not in links[:place]:
            parts += [_knob(f"{head}.{name}", value) for name, value in own.items()]
    return ", ".join(parts)


def with_knobs(technique: str, settings: Sequence[Mapping[str, Any]]) -> str:
    """Write a technique, and its knobs on a line below if it has any."""
    return f"{technique}\n{knobs(technique, settings)}".rstrip("\n")


def _knob(name: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.replace('_', ' ')} {text}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["made"]), listed(["made", "judged", "measured"])
    ('made', 'made, judged and measured')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""
