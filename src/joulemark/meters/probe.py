"""Finds every energy counter and power sensor of this machine, and says of the others why they are not there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from joulemark.meters.apple import find_apple, on_apple
from joulemark.meters.grace import find_grace
from joulemark.meters.hwmon import HWMON
from joulemark.meters.ina3221 import find_ina3221
from joulemark.meters.nvml import find_nvml, find_nvml_power, processes, throttle_reasons
from joulemark.meters.powercap import POWERCAP
from joulemark.meters.rapl import find_rapl
from joulemark.meters.scope import overlap
from joulemark.meters.source import PowerSensor, Sensor, Source, Unavailable
from joulemark.meters.spans import track_of
from joulemark.meters.trace import facts_of
from joulemark.record import Check

GROUP = "joulemark.meters"
"""Entry points of other packages that bring counters."""

T = TypeVar("T", bound=Sensor)


def probe() -> tuple[list[Source | PowerSensor], list[Unavailable]]:
    """Open what the joules of this machine are summed from: its counters, and power sensors of parts that have none.

    They cover disjoint parts. A power sensor makes joules only with a sampler. The caller closes them.
    """
    counters, missing = probe_counters()
    sensors = [] if on_apple() else probe_power()[0]
    covered = [counter.path for counter in counters]
    alone = _kept(sensors, lambda sensor: not any(overlap(sensor.path, path) for path in covered))
    return [*counters, *alone], missing


def probe_checks(paths: Iterable[str]) -> list[PowerSensor]:
    """Open the power sensors of parts that are counted already: a second opinion. The caller closes them."""
    counted = set(paths)
    sensors: list[PowerSensor] = [*find_nvml_power()[0]]
    return _kept(sensors, lambda sensor: sensor.path in counted)


def probe_sampled() -> list[Source | PowerSensor]:
    """Open all that a sampler may be asked to read: the two above. The caller closes them."""
    sources, _ = probe()
    return [*sources, *probe_checks(source.path for source in sources)]


def probe_counters(root: Path = POWERCAP, *, nested: bool = False) -> tuple[list[Source], list[Unavailable]]:
    """Open all energy counters: processors and memory below ``root`` (a powercap tree), NVIDIA boards, those of others.

    The sources cover disjoint parts of the machine, unless ``nested`` asks for those inside and around them, too. An
    installed package adds counters by an entry point of the group ``joulemark.meters``: a function without arguments
    that returns what this one does. The caller closes them.
    """
    ours: list[tuple[Sequence[Source], Sequence[Unavailable]]]
    ours = [find_apple()] if on_apple() else [find_rapl(root, nested=nested), find_nvml()]
    sources = [source for found, _ in ours for source in found]
    taken = [source.path for source in sources]
    others, no_others = _find_others()
    for other in others:
        if nested or not any(overlap(other.path, path) for path in taken):
            taken.append(other.path)
            sources.append(other)
        else:
            other.close()
    return sources, [*(one for _, missing in ours for one in missing), *no_others]


def _find_others() -> tuple[list[Source], list[Unavailable]]:
    """Counters of installed packages; one that fails is told, and must not hide ours."""
    from importlib.metadata import entry_points  # slow to import

    sources: list[Source] = []
    missing: list[Unavailable] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found, absent_ones = entry.load()()
            for one in found:
                _refuse_unfit(one)
        except Exception as error:  # noqa: BLE001  (another package's code, which may raise anything)
            reason = f"{entry.value} raised {type(error).__name__}: {error}"
            missing.append(Unavailable(entry.name, reason, "repair or remove the package that brings it"))
            continue
        sources += found
        missing += absent_ones
    return sources, missing


def _refuse_unfit(source: Source) -> None:
    """Raise what would otherwise be raised in the measured program: attributes that lack, numbers that cannot be."""
    facts = facts_of(source)
    if not facts.path:
        raise ValueError(f"{facts.name} has no scope path, which tells what it may be added to")
    track_of(facts).update(source.read())


def probe_power(root: Path = HWMON, *, nested: bool = False) -> tuple[list[PowerSensor], list[Unavailable]]:
    """Open all power sensors below ``root`` (a hwmon tree): modules of Jetson and Grace. The caller closes them."""
    jetson, no_jetson = find_ina3221(root)
    grace, no_grace = find_grace(root, nested=nested)
    return [*jetson, *grace], [*no_jetson, *no_grace]


def absent() -> list[Unavailable]:
    """Sources that :func:`probe` cannot find on a machine of this kind, with what could be done."""
    wall = Unavailable(
        "wall",
        "no wall meter is read while it runs; the log of one, a CSV with timestamps, can be imported",
        "call joulemark.meters.wall.read_wall_log on the meter's log",
    )
    return [wall] if on_apple() else [*find_apple()[1], wall]


def device_checks() -> list[Check]:
    """Conditions of a quiet machine that the boards' drivers tell (other programs on a GPU, throttling), if they do."""
    boards, _ = find_nvml()
    checks = []
    for board in boards:
        with contextlib.closing(board):
            others, held = processes(board.uuid), throttle_reasons(board.uuid)
        checks.append(_check(f"{board.name}: alone", others, "no other program holds the board"))
        checks.append(_check(f"{board.name}: clocks", held, "nothing holds the clocks down"))
    return checks


def _kept(found: Iterable[T], wanted: Callable[[T], bool]) -> list[T]:
    """Those that are wanted; the others are closed."""
    kept = []
    for one in found:
        if wanted(one):
            kept.append(one)
        else:
            one.close()
    return kept


def _check(name: str, found: tuple[str, ...] | None, good: str) -> Check:
    if found is None:
        return Check(name, None, "the driver does not tell")
    return Check(name, not found, ", ".join(found) or good)
