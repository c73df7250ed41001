"""One paragraph of advice: what was measured, with its figures, and not a word more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from joulemark.auditing.trying import Tried
from joulemark.record import LayerEnergy, Ratio
from joulemark.report.words import interval, times


def advice(tried: Sequence[Tried], layers: Sequence[LayerEnergy], *, images: str | None) -> str:
    """The paragraph. ``images`` names where they came from; ``None``: they were random."""
    measured = [one for one in tried if one.ratio is not None and not one.control]
    control = next((one.ratio for one in tried if one.control), None)
    quickest = [one for one in measured if _faster(one.ratio, control)]
    size = min((one.batch_size for one in tried), default=1)
    own = next((one.precision for one in tried if one.control), "fp32")
    opening = {"fp32": "In float32", "int8": "In the file's own eight-bit integers"}.get(own, f"In {own}")
    plain = [one for one in measured if one.precision == own]
    single = [one for one in quickest if one.batch_size == size and one.precision == own]
    most = max((one.ratio.value for one in single if one.ratio), default=1.0)  # a batch must beat the single inputs too
    larger = [one for one in quickest if one.batch_size > size and one.precision == own]
    batched = [one for one in larger if one.ratio and one.ratio.low > most]
    sentences = [_best(single, f"{opening} the quickest answer comes from")]
    if not measured:
        sentences = ["Nothing but the baseline itself was measured, so nothing can be said of other ways to run it."]
    elif not plain:
        sentences = [f"{opening} nothing but the baseline itself was measured."]
    elif not single:
        sentences = [f"{opening} nothing that was tried answers faster than ONNX Runtime on one thread."]
    sentences += [_best(batched, "If inputs can wait for each other, the highest throughput comes from")]
    for precision, name in (("int8", "Eight-bit integers"), ("bf16", "bf16")):
        if precision != own:
            found = [one for one in measured if one.precision == precision]
            sentences.append(_reduced(found, name, control, images))
    sentences.append(_heaviest(layers))
    if any(one.joules_ratio is not None for one in measured):
        sentences.append(_joules(measured))
    else:
        sentences.append("Joules were not measured here: faster is no proof of fewer joules, and neither is a model.")
    return " ".join(filter(None, sentences))


def _faster(ratio: Ratio | None, control: Ratio | None) -> bool:
    return ratio is not None and ratio.low > (control.high if control is not None else 1.0)


def _slower(ratio: Ratio | None, control: Ratio | None) -> bool:
    return ratio is not None and ratio.high < min(1.0, control.low if control is not None else 1.0)


def _best(found: Sequence[Tried], opening: str) -> str:
    if not found:
        return ""
    best = max(found, key=lambda one: one.ratio.value if one.ratio else 0.0)
    text = f"{opening} {best.title}: {_ratio(best.ratio)} times as fast"
    if best.cpu_ratio is not None:
        text += f", for {times(1 / best.cpu_ratio.value)} times the CPU-seconds per input"
    return f"{text}."


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{times(ratio.value)} ({interval(ratio)})"


def _reduced(found: Sequence[Tried], name: str, control: Ratio | None, images: str | None) -> str:
    """What fewer bits gave, and how far the outputs moved."""
    if not found:
        return ""
    best = max(found, key=lambda one: one.ratio.value if one.ratio else 0.0)
    gain = "as fast, which is no gain that the noise here leaves sure"
    if _faster(best.ratio, control):
        gain = "as fast"
    elif _slower(best.ratio, control):
        gain = "as fast, which is slower"
    text = f"{name} ({best.title}): {_ratio(best.ratio)} times {gain}"
    near = best.agreement
    if images is None:
        return f"{text}; how far the outputs move cannot be said from random inputs."
    if near is None:
        return f"{text}."
    if near.same_class is not None and near.low is not None and near.high is not None:
        text += (
            f"; the same class on {near.same_class:.1%} of {near.images} images"
            f" (95 %: {near.low:.1%} to {near.high:.1%})"
        )
    return f"{text}; outputs move by {near.mean_relative:.1%} of their size on average. Check it on labels before use."


def _heaviest(layers: Sequence[LayerEnergy]) -> str:
    sums: dict[str, float] = defaultdict(float)
    for one in layers:  # an operator that ran in several shapes is there several times
        sums[f"{one.layer} ({one.operator})"] += sum(one.joules.values())
    total = sum(sums.values())
    if not total:
        return ""
    top = sorted(sums, key=lambda name: -sums[name])[:3]
    listed = ", ".join(f"{name} {sums[name] / total:.0%}" for name in top)
    return f"On the modelled accelerator (not this machine) most energy goes to {listed}: look there first."


def _joules(measured: Sequence[Tried]) -> str:
    known = [one for one in measured if one.joules_ratio is not None and one.joules_ratio.low > 1.0]
    if not known:
        return "None of them uses measurably fewer joules."
    best = max(known, key=lambda one: one.joules_ratio.value if one.joules_ratio else 0.0)
    return f"Fewest measured joules: {best.title}, {_ratio(best.joules_ratio)} times fewer per input."
