"""What a calibration found, for a person and for a script."""

from __future__ import annotations

import math
import statistics
from typing import Any

from joulemark.calibrate import held_out as judging
from joulemark.energy.device import DeviceProfile
from joulemark.energy.features import PAPER
from joulemark.energy.learned import median_net_error, net_error
from joulemark.record import Record
from joulemark.workloads.workload import Workload

PAPER_RMSPE = {"conv": 39.97, "fc": 41.92, "pool": 11.41}
"""Percent: seconds of layers, NeuralPower's Table 2 (GTX Titan X, TensorFlow; read in a figure of the table)."""

PAPER_RUNTIME_ERROR, PAPER_ENERGY_ACCURACY = 11.76, 97.21
"""Percent: whole nets, NeuralPower's abstract (88.24 % accurate runtime)."""

TARGET = 0.10
"""Our own: median error of whole nets never seen, eager PyTorch."""

CAVEAT = (
    "The paper's figures are of another machine (GTX Titan X), and its released code computes them on the rows it was "
    "trained with; ours are on rows held out."
)


class Additivity(Record, frozen=True, kw_only=True):
    """Layers of one net measured one by one, summed, over the whole net at batch 1."""

    net: str
    ratio: float  # sum over whole
    fused_ratio: float | None  # the same without what the backend fuses; None: it fuses nothing
    missing: int  # layers that could not be run alone


def additivity(profile: DeviceProfile, works: dict[str, Workload]) -> list[Additivity]:
    """Sum of layers against the whole, net by net, as far as both were measured."""
    call = profile.call_seconds  # once a net, not once a layer
    alone = {row.layer: max(0.0, profile.steady(row.seconds, row.control_seconds) - call) for row in profile.alone}
    whole = {
        one.net: profile.steady(one.seconds, one.control_seconds)
        for one in profile.nets
        if one.batch == judging.ALONE_BATCH
    }
    found = []
    for net, work in works.items():
        layers = [(layer, calls) for layer, calls in judging.layers_of(work) if layer is not None]
        known = [(layer, calls) for layer, calls in layers if layer in alone]
        if net not in whole or not known:
            continue
        sums = [
            call + math.fsum(calls * alone[one] for one, calls in known if not (fused and one.type in profile.free))
            for fused in (False, True)
        ]
        found.append(
            Additivity(
                net=net,
                ratio=sums[0] / whole[net],
                fused_ratio=sums[1] / whole[net] if profile.free else None,
                missing=len(layers) - len(known),
            )
        )
    return found


def fit_rows(profile: DeviceProfile) -> list[dict[str, str]]:
    """One row a regression: how far it was off on rows held out, beside the paper."""
    rows = []
    for one in profile.fits:
        published = f"{PAPER_RMSPE[one.type]:.2f} %" if one.quantity == "seconds" and one.type in PAPER else ""
        rows.append(
            {
                "layer type": one.type,
                "of": one.quantity,
                "rows": str(one.rows),
                "terms": str(len(one.coefficients) + 1),
                "held-out RMSPE": _percent(one.rmspe),
                "median error": _percent(one.median_error),
                "plain Lasso": _percent(one.paper_rmspe),
                "paper": published,
            }
        )
    return rows


def net_rows(profile: DeviceProfile) -> list[dict[str, str]]:
    """One row a judged net and batch size, seconds of one input."""
    rows = []
    for one in sorted(profile.nets, key=lambda one: (one.net, one.batch)):
        error = net_error(profile, one)
        row = {
            "net": one.net,
            "batch": str(one.batch),
            "measured ms": f"{1e3 * profile.steady(one.seconds, one.control_seconds) / one.batch:.4g}",
            "predicted ms": "" if one.predicted_seconds is None else f"{1e3 * one.predicted_seconds / one.batch:.4g}",
            "error": "" if error is None else f"{100 * error:+.1f} %",
        }
        if profile.has_watts:
            off = net_error(profile, one, "joules")
            row |= {
                "measured J": "" if one.joules is None else f"{one.joules / one.batch:.4g}",
                "predicted J": "" if one.predicted_joules is None else f"{one.predicted_joules / one.batch:.4g}",
                "error of J": "" if off is None else f"{100 * off:+.1f} %",
            }
        rows.append(row)
    return rows


def sentences(profile: DeviceProfile, sums: list[Additivity], path: str) -> list[str]:
    """What it comes to."""
    if not profile.fits:
        return [
            f"{len(profile.rows)} of {profile.planned} layers and {len(profile.nets)} runs of nets are measured and "
            f"kept in {path}: the same command goes on from there."
        ]
    seconds, joules = median_net_error(profile), median_net_error(profile, "joules")
    lines = []
    if seconds is not None:
        lines.append(
            f"Nets never seen: seconds are {seconds:.1%} off (median of {len(profile.nets)} nets and batch sizes; the "
            f"paper: {PAPER_RUNTIME_ERROR} % on its own machine; our target for eager PyTorch: under {TARGET:.0%}"
            f"{', missed' if seconds >= TARGET and profile.backend == 'eager' else ''})."
        )
        by_batch = ", ".join(f"{batch}: {error:.1%}" for batch, error in _by_batch(profile).items())
        lines.append(f"By batch size {by_batch}; the worst is {max(abs(e) for e in _errors(profile)):.1%} off.")
    if joules is not None:
        lines.append(
            f"Their joules are {joules:.1%} off (median; the paper: {100 - PAPER_ENERGY_ACCURACY:.2f} %, where errors "
            "of seconds and watts cancel)."
        )
    if not profile.has_watts:
        lines.append("Power is missing: no energy counter was there, so seconds were fitted and joules stay unknown.")
    lines += _sums(profile, sums)
    lines += [CAVEAT, f"Control layer: {_drift(profile)}.", f"The profile is {path}."]
    return lines


def _errors(profile: DeviceProfile, batch: int | None = None) -> list[float]:
    """Relative errors of the seconds of the judged nets, at one batch size or at all."""
    there = [one for one in profile.nets if batch in (None, one.batch)]
    return [error for one in there if (error := net_error(profile, one)) is not None]


def _by_batch(profile: DeviceProfile) -> dict[int, float]:
    """Median of the errors, sign dropped, of each batch size."""
    sizes = sorted({one.batch for one in profile.nets if one.predicted_seconds is not None})
    return {batch: statistics.median(map(abs, _errors(profile, batch))) for batch in sizes}


def _sums(profile: DeviceProfile, sums: list[Additivity]) -> list[str]:
    if not sums:
        return []
    whole = ", ".join(f"{one.net} {one.ratio:.2f}" for one in sums)
    lines = [f"Layers measured one by one, summed, over the whole net at batch {judging.ALONE_BATCH}: {whole}."]
    if profile.free:
        fused = ", ".join(f"{one.net} {one.fused_ratio:.2f}" for one in sums)
        lines.append(f"Without {' and '.join(profile.free)}, which {profile.backend} fuses: {fused}.")
    return lines


def _drift(profile: DeviceProfile) -> str:
    control = [row.control_seconds for row in profile.rows]
    middle = statistics.median(control)
    if len(control) < 2:
        return f"{1e3 * middle:.3g} ms, once"
    low, high = (statistics.quantiles(control, n=20)[place] for place in (0, 18))
    return f"median {1e3 * middle:.3g} ms, 5th to 95th percentile {low / middle - 1:+.1%} to {high / middle - 1:+.1%}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def as_dict(profile: DeviceProfile, sums: list[Additivity], path: str) -> dict[str, Any]:
    """The same for a script."""
    return {
        "path": path,
        "finished": bool(profile.fits),
        "rows": len(profile.rows),
        "planned": profile.planned,
        "median_net_error": median_net_error(profile),
        "median_net_joules_error": median_net_error(profile, "joules"),
        "fits": fit_rows(profile),
        "nets": net_rows(profile),
        "additivity": sums,
        "sentences": sentences(profile, sums, path),
    }
