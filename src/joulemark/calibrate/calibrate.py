"""The steps of a calibration, one after another into one file: layers, nets, the nets' layers, then the fits.

The file is written after every step, whole or not at all, so that a calibration that is killed loses the step in hand.
A call works for a given time and then stops between two steps; the same call goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from joulemark.benchmarking.run import Event
from joulemark.calibrate import held_out as judging
from joulemark.calibrate.sampling import layer
from joulemark.calibrate.timing import Bench, Timed
from joulemark.energy.device import DeviceProfile, Judged, Row, own_profile, read_profile, write_profile
from joulemark.energy.features import TYPES, Layer
from joulemark.energy.fitting import fewest, fit
from joulemark.energy.learned import Learned
from joulemark.machine.machine import activity, conditions
from joulemark.workloads.workload import Workload

RESERVE_SECONDS = 40.0
"""A call stops so long before its time is over: the longest step and the fits fit in."""


STEP = "calibration"
NET_WEIGHT = 8
ALONE_LAYERS = 35
"""A net takes about as long as so many layers, and has so many different ones; only the time left depends on it."""


class Step(NamedTuple):
    """One thing to measure."""

    title: str
    weight: int
    take: Callable[[DeviceProfile], DeviceProfile]  # measures it and puts it into the profile


def calibrate(
    path: Path,
    bench: Bench,
    fresh: DeviceProfile,
    *,
    minutes: float,
    nets: Sequence[str] = judging.NETS,
    listen: Callable[[Event], None],
    workload_of: Callable[[str], Workload] = judging.net_workload,
    clock: Callable[[], float] = time.monotonic,
) -> DeviceProfile:
    """Go on with the profile at ``path``, or begin it as ``fresh`` says, for ``minutes`` at most; the profile so far.

    ``nets`` are judged. Raises ``ValueError`` if what stands at ``path`` was begun otherwise, ``OSError`` if it cannot
    be written.
    """
    profile = _begun(path, fresh, bench)
    if profile.fits and not _unjudged(profile, nets):
        return profile
    whole = _weight(profile, nets)
    began, before, done = clock(), activity(), 0
    for step in _steps(bench, profile, nets, workload_of):
        if clock() - began > 60.0 * minutes - RESERVE_SECONDS:
            break
        listen(_going(step.title, min(0.99, done / whole)))
        profile = step.take(profile)
        write_profile(path, profile)
        done += step.weight
    else:
        listen(_going("fitting", 0.99))
        profile = fitted(profile, workload_of)
        listen(Event(what="finished", step=STEP, title="calibration", done=1, steps=1, seconds=clock() - began))
    seen = conditions(before, activity())
    profile = msgspec.structs.replace(profile, conditions=(*profile.conditions, seen))
    write_profile(path, profile)
    return profile


def refit(path: Path, workload_of: Callable[[str], Workload] = judging.net_workload) -> DeviceProfile:
    """Fit again what a finished profile holds, and write it. ``ValueError`` for another file."""
    profile = fitted(own_profile(path), workload_of)
    write_profile(path, profile)
    return profile


def _going(title: str, share: float) -> Event:
    return Event(what="going", step=STEP, title=title, done=0, steps=1, share=share)


def fitted(profile: DeviceProfile, workload_of: Callable[[str], Workload] = judging.net_workload) -> DeviceProfile:
    """The profile with its regressions, and what they say of every judged net."""
    fits = []
    for kind in TYPES:
        rows = [row for row in profile.rows if row.layer.type == kind]
        if not rows:
            continue
        layers = [row.layer for row in rows]
        seconds = [profile.steady(row.seconds, row.control_seconds) for row in rows]
        fits.append(fit(layers, seconds, "seconds", seed=profile.seed))
        known = [(row.layer, row.watts) for row in rows if row.watts is not None]
        if len(known) >= fewest(kind):
            measured, watts = [one for one, _ in known], [value for _, value in known]
            fits.append(fit(measured, watts, "watts", seed=profile.seed))
    profile = msgspec.structs.replace(profile, fits=tuple(fits))
    model = Learned(profile)
    works = {name: workload_of(name) for name in dict.fromkeys(one.net for one in profile.nets)}
    judged = tuple(_predicted(one, model, works[one.net]) for one in profile.nets)
    return msgspec.structs.replace(profile, nets=judged)


def _predicted(one: Judged, model: Learned, workload: Workload) -> Judged:
    report = model.estimate(judging.at_batch(workload, one.batch))
    seconds, joules = (
        None if q is None or q.value is None else q.value * one.batch for q in (report.seconds, report.joules)
    )
    return msgspec.structs.replace(one, predicted_seconds=seconds, predicted_joules=joules)


def _begun(path: Path, fresh: DeviceProfile, bench: Bench) -> DeviceProfile:
    """The profile at ``path`` if it was begun in the same way, ``fresh`` if there is none."""
    if not path.exists():
        return msgspec.structs.replace(fresh, call_seconds=bench.call_seconds())
    there = read_profile(path)
    for name in ("machine", "backend", "precision", "threads", "versions", "seed", "planned", "control"):
        was, now = (getattr(one, name) for one in (there, fresh))
        if name == "machine":
            was, now = was.hardware_class, now.hardware_class
        if was != now:
            raise ValueError(
                f"{path} was begun with {name} {_short(was)}, and this would be {_short(now)}: "
                "name another file with -o, or remove that one"
            )
    return there


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _unjudged(profile: DeviceProfile, nets: Sequence[str]) -> list[tuple[str, int]]:
    """Nets and batch sizes that are still to be judged, in an order shuffled by the seed."""
    pairs = [(net, batch) for net in nets for batch in judging.BATCHES]
    there = {(one.net, one.batch) for one in profile.nets}
    order = np.random.default_rng(profile.seed).permutation(len(pairs))
    return [pairs[index] for index in order if pairs[index] not in there]


def _weight(profile: DeviceProfile, nets: Sequence[str]) -> int:
    """About how many layers' time is left, at least 1."""
    alone = max(0, ALONE_LAYERS * len(nets) - len(profile.alone))
    return max(1, profile.planned - len(profile.rows) + NET_WEIGHT * len(_unjudged(profile, nets)) + alone)


def _steps(
    bench: Bench, profile: DeviceProfile, nets: Sequence[str], workload_of: Callable[[str], Workload]
) -> Iterator[Step]:
    """What the profile lacks, in order; what it holds already is not measured again."""
    for index in range(len(profile.rows), profile.planned):
        one = layer(profile.seed, index)
        yield Step(f"layer {index + 1} of {profile.planned}: {one.type}", 1, _row_step(bench, one))
    for net, batch in _unjudged(profile, nets):
        yield Step(f"{net}, batch {batch}", NET_WEIGHT, _net_step(bench, net, batch))
    measured = {row.layer for row in profile.alone}
    for net in nets:
        for alone, _ in judging.layers_of(workload_of(net)):
            if alone is not None and alone not in measured:
                measured.add(alone)
                yield Step(f"{net}: a {alone.type} alone", 1, _alone_step(bench, alone))


def _row_step(bench: Bench, one: Layer) -> Callable[[DeviceProfile], DeviceProfile]:
    return lambda profile: msgspec.structs.replace(profile, rows=(*profile.rows, _row(one, bench.layer(one))))


def _alone_step(bench: Bench, one: Layer) -> Callable[[DeviceProfile], DeviceProfile]:
    def take(profile: DeviceProfile) -> DeviceProfile:
        try:
            timed = bench.layer(one)
        except (ValueError, RuntimeError):  # one that cannot be run alone is missing from the sum, and counted as such
            return profile
        return msgspec.structs.replace(profile, alone=(*profile.alone, _row(one, timed)))

    return take


def _net_step(bench: Bench, net: str, batch: int) -> Callable[[DeviceProfile], DeviceProfile]:
    def take(profile: DeviceProfile) -> DeviceProfile:
        timed = bench.net(net, batch)
        one = Judged(
            net=net, batch=batch, seconds=timed.seconds, low=timed.low, high=timed.high, passes=timed.calls,
            control_seconds=timed.control_seconds,
            joules=None if timed.watts is None else timed.watts * timed.seconds,
        )  # fmt: skip
        return msgspec.structs.replace(profile, nets=(*profile.nets, one))

    return take


def _row(one: Layer, timed: Timed) -> Row:
    return Row(
        layer=one, seconds=timed.seconds, low=timed.low, high=timed.high, calls=timed.calls,
        control_seconds=timed.control_seconds, watts=timed.watts,
    )  # fmt: skip
