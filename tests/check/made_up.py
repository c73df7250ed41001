"""A small folder of results that breaks no rule: two seeds, a technique with two settings, saved nets, a study."""

from __future__ import annotations

import hashlib
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from joulemark.judging.packed import pack
from joulemark.judging.statistics import bootstrap_median, loss_bound, paired_ratio
from joulemark.judging.truths import truth_record
from joulemark.record import (
    Agreement,
    Attempt,
    Conditions,
    EnergyReport,
    FreeTrial,
    Kind,
    LayerEnergy,
    Machine,
    Made,
    Making,
    Paced,
    PacedSide,
    Provenance,
    Quantity,
    Score,
    Study,
    Timing,
    Trial,
    content_key,
)
from joulemark.store import Store

MACHINE, TASK, TASK_KEY = "toy-cpu", "toy", "0123456789abcdef"
FOLDER = f"{TASK}-{TASK_KEY[:8]}"
SEEDS = (0, 1)
GENTLE, GREEDY = ({"share": 0.5},), ({"share": 0.9},)  # the first is eligible at 2 points, the second is not


def quantity(value: float | None, unit: str, kind: Kind = Kind.MEASURED) -> Quantity:
    reason = None if value is not None else "no counter on this machine"
    return Quantity(value=value, unit=unit, kind=kind, method="made up", scope="test", source="", reason=reason)


def windows(values: list[float], unit: str = "s/input") -> Quantity:
    """The median of windows, as the benchmark stores it."""
    low, high = bootstrap_median(values)
    value, method = median(values), "monotonic clock, median of windows"
    return Quantity(
        value=value, unit=unit, kind=Kind.MEASURED, method=method, scope="test", source="", low=low, high=high,
        count=len(values),
    )  # fmt: skip


JOULES = quantity(None, "J/input")
CODE = {"joulemark.techniques.pruning.magnitude": "1" * 16}
PROVENANCE = Provenance(
    joulemark="0", commit=None, command="test", started="2026-01-02T03:04:05Z", versions={},
    machine=Machine(
        hardware_class=MACHINE, processor="Toy", cores=2, memory_bytes=1, accelerator=None, system="x", virtual=None,
        governor=None,
    ),
)  # fmt: skip


TRUTH = {
    split: truth_record(TASK, TASK_KEY, split, np.arange(1004) % 10, classes=10) for split in ("validation", "test")
}
TRUTHS = {truth.key: truth for truth in TRUTH.values()}


def net_bytes(technique: str, knobs: tuple, seed: int) -> bytes:
    return f"weights of {technique} {knobs} {seed}".encode()


def net_hash(technique: str, knobs: tuple, seed: int) -> str:
    return hashlib.sha256(net_bytes(technique, knobs, seed)).hexdigest()[:16]


def score(split: str, wrong: int, images: int = 1004) -> Score:
    """The first ``wrong`` rows are given the class after the true one."""
    predicted = (np.arange(images) + (np.arange(images) < wrong)) % 10
    return Score(
        split=split, metric="accuracy", rows=images, value=(images - wrong) / images, predicted=pack(predicted),
        truth=TRUTH[split].key,
    )  # fmt: skip


def old_score(split: str, wrong: int, images: int = 1004) -> Score:
    """The same as the migrator leaves it: bits alone. 1,004 images, so that the last byte is padded."""
    bits = "0" * wrong + "1" * (images - wrong)
    text = f"{int(bits.ljust(-(-images // 8) * 8, '0'), 2):0{-(-images // 8) * 2}x}"
    return Score(
        split=split, metric="accuracy", rows=images, value=(images - wrong) / images, predicted=None, truth=None,
        correct=text,
    )  # fmt: skip


def bits(wrong: int, images: int = 1004) -> np.ndarray:
    """Which images are right, as in :func:`score`."""
    return np.arange(images) >= wrong


def wrong_of(knobs: tuple) -> int:
    return {0.5: 22, 0.9: 150}.get(share_of(knobs), 20)


def share_of(knobs: tuple) -> float:
    return knobs[0]["share"] if knobs else 0.0


def report(knobs: tuple) -> EnergyReport:
    joules = {"MAC": 1e-6 * (1 - share_of(knobs)), "DRAM": 2e-6}
    layer = LayerEnergy(layer="conv1", operator="conv", joules=joules, macs=800.0)
    total = quantity(sum(joules.values()), "J/input", Kind.MODELLED)
    return EnergyReport(model="toy-model", joules=total, layers=(layer,), coverage=0.8, assumptions=(), sources=())


PROXIES = {"parameters": 100.0, "nonzero_parameters": 90.0, "macs_per_input": 1000.0, "macs": 1000.0}


def made(technique: str, knobs: tuple, seed: int) -> Made:
    start = None if technique == "baseline" else net_hash("baseline", (), seed)
    making = Making(seconds=1.0, cpu_seconds=2.0, image_passes=10, joules=quantity(None, "J"))
    return Made(
        key=content_key("made", technique, knobs, seed), task=TASK, task_key=TASK_KEY, technique=technique, knobs=knobs,
        seed=seed, start=start, net=net_hash(technique, knobs, seed), making=making, code=CODE, provenance=PROVENANCE,
    )  # fmt: skip


def attempt(technique: str, knobs: tuple, seed: int) -> Attempt:
    source = made(technique, knobs, seed)
    return Attempt(
        key=content_key("attempt", source.key), task=TASK, task_key=TASK_KEY, technique=technique, knobs=knobs,
        seed=seed, made=source.key, net=source.net, score=score("validation", wrong_of(knobs)), execution="real",
        reason=None, seconds=quantity(1e-3 * (1 - share_of(knobs)), "s/input"), joules=JOULES,
        models={"toy-model": report(knobs).joules}, proxies=PROXIES, making=source.making, provenance=PROVENANCE,
    )  # fmt: skip


def trial(technique: str, knobs: tuple, seed: int) -> Trial:
    chosen = attempt(technique, knobs, seed)
    blocks = tuple((1e-3 * (1 + 0.01 * i), 1e-3 * (1 - share_of(knobs)), 1e-3) for i in range(4))
    ratio, baseline = paired_ratio(blocks), windows([one for a, _, b in blocks for one in (a, b)])
    order, turned = shuffled(["eager batch 1"], len(blocks), seed)
    timing = Timing(
        backend="eager", batch_size=1, threads=1, precision="fp32", execution="real", reason=None,
        seconds=windows([middle for _, middle, _ in blocks]), baseline_seconds=baseline, ratio=ratio, joules=JOULES,
        blocks=blocks, turned=turned["eager batch 1"], screening={"eager": 1e-3, "onnxruntime": 2e-3},
        reference="eager", reference_seconds=baseline, reference_ratio=ratio,
    )  # fmt: skip
    return Trial(
        key=content_key("trial", chosen.key), attempt=chosen.key, task=TASK, task_key=TASK_KEY, hardware_class=MACHINE,
        technique=technique, knobs=knobs, seed=seed, net=chosen.net or "",
        scores={"eager": score("test", wrong_of(knobs))}, timings=(timing,), models=(report(knobs),), proxies=PROXIES,
        provenance=PROVENANCE, paced=(paced(),), order=order, order_seed=seed, conditions=CONDITIONS,
    )  # fmt: skip


def shuffled(names: list[str], blocks: int, seed: int) -> tuple[tuple[str, ...], dict[str, tuple[bool, ...]]]:
    """Order of the blocks and who is inside out, by the two draws that docs/how-we-measure.md promises."""
    rng = np.random.default_rng(seed)
    order = names * blocks
    rng.shuffle(order)
    tosses = [bool(rng.integers(2)) for _ in order]
    return tuple(order), {
        name: tuple(toss for one, toss in zip(order, tosses, strict=True) if one == name) for name in names
    }


CONDITIONS = Conditions(
    seconds=10.0, cores=2, own_cpu_seconds=9.0, busy_cpu_seconds=9.5, stolen_seconds=0.0, throttles=None
)


BUSY = ((2.5e-3, 1e-3, 2.5e-3), (2.6e-3, 1e-3, 2.5e-3), (2.5e-3, 1.1e-3, 2.5e-3))


def paced() -> Paced:
    def side(busy: float) -> PacedSide:
        return PacedSide(
            inputs=60, latency_seconds=2e-3, latency_95_seconds=3e-3, missed=1, busy_seconds_per_hour=busy,
            cpu_seconds_per_hour=busy, joules_per_hour=quantity(None, "J/h"),
        )  # fmt: skip

    return Paced(
        inputs_per_second=2.0, backend="eager", reference="eager", threads=1, execution="real", reason=None,
        window_seconds=5.0, candidate=side(10.0), baseline=side(25.0), idle_joules_per_hour=quantity(None, "J/h"),
        busy_ratio=2.5, blocks=BUSY, busy=paired_ratio(BUSY),
    )  # fmt: skip


FREE_GROUP = ["eager, 1 thread, batch 1", "eager:bf16,channels_last, 2 threads, batch 8"]


def free(*, control: bool) -> FreeTrial:
    """One of two settings measured together; the second loses one image."""
    order, turned = shuffled(FREE_GROUP, 4, 9)
    cost = 1.0 if control else 0.5
    blocks = tuple((1e-3 * (1 + 0.01 * i), 1e-3 * cost, 1e-3) for i in range(4))
    same = 1.0 if control else 1003 / 1004
    return FreeTrial(
        key=content_key("free", control), task=TASK, task_key=TASK_KEY, hardware_class=MACHINE, seed=0,
        net=net_hash("baseline", (), 0), backend="eager", options=() if control else ("bf16", "channels_last"),
        threads=1 if control else 2, batch_size=1 if control else 8, precision="fp32" if control else "bf16",
        control=control, ratio=paired_ratio(blocks), seconds=windows([middle for _, middle, _ in blocks]),
        cpu_ratio=paired_ratio(blocks), cpu_seconds=windows([middle for _, middle, _ in blocks]), joules=JOULES,
        blocks=blocks, cpu_blocks=blocks, turned=turned[FREE_GROUP[0 if control else 1]], order=order, order_seed=9,
        conditions=CONDITIONS,
        agreement=Agreement(
            images=1004, same_class=same, low=wilson(same, 1004)[0], high=wilson(same, 1004)[1],
            largest_difference=0.1, mean_relative=0.01, largest_relative=0.02,
        ),
        score=score("validation", 20 if control else 21), baseline_score=score("validation", 20),
        loss_points=0.0 if control else 100 / 1004,
        loss_bound=loss_bound(bits(20)[None], bits(20 if control else 21)[None])[1],
        provenance=PROVENANCE,
    )  # fmt: skip


def wilson(share: float, tries: int) -> tuple[float, float]:
    """Ends of the 95 % score interval: the roots of (share - p)^2 = z^2 p (1 - p) / tries."""
    square = 1.959963984540054**2
    low, high = sorted(np.roots([1 + square / tries, -(2 * share + square / tries), share**2]).real)
    return float(low), 1.0 if share == 1.0 else float(high)


def baseline_trial(seed: int) -> Trial:
    return trial("baseline", (), seed)


def study() -> Study:
    return Study(
        key="toy-suite", settings="x", limits_points=(2.0,), models=("toy-model",),
        baselines=tuple(attempt("baseline", (), seed).key for seed in SEEDS),
        attempts={"halve": tuple(attempt("halve", knobs, seed).key for knobs in (GENTLE, GREEDY) for seed in SEEDS)},
        trials=tuple(trial(name, knobs, s).key for name, knobs in (("baseline", ()), ("halve", GENTLE)) for s in SEEDS),
        free=tuple(free(control=control).key for control in (True, False)),
    )  # fmt: skip


def changed(record, path: str, value):
    """A copy of a record with the field at a dotted path changed; numbers index tuples."""
    head, _, rest = path.partition(".")
    if isinstance(record, tuple):
        place = int(head)
        return (*record[:place], changed(record[place], rest, value) if rest else value, *record[place + 1 :])
    if isinstance(record, dict):
        return {**record, head: changed(record[head], rest, value) if rest else value}
    return msgspec.structs.replace(record, **{head: changed(getattr(record, head), rest, value) if rest else value})


def fill(root: Path) -> Store:
    """Write the whole folder."""
    store = Store(root, hardware_class=MACHINE, task=FOLDER)
    for technique, knobs in (("baseline", ()), ("halve", GENTLE), ("halve", GREEDY)):
        for seed in SEEDS:
            store.write(f"nets/{net_hash(technique, knobs, seed)}.safetensors", net_bytes(technique, knobs, seed))
            store.put(made(technique, knobs, seed))
            store.put(attempt(technique, knobs, seed))
            if knobs != GREEDY:
                store.put(trial(technique, knobs, seed))
    for control in (True, False):
        store.put(free(control=control))
    for truth in TRUTHS.values():
        store.put(truth)
    store.put(study())
    return store
