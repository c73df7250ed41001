"""A small folder of results that breaks no rule: two seeds, a technique with two settings, saved nets, a study."""

from __future__ import annotations

import hashlib
from pathlib import Path

from joulemark.record import (
    Attempt,
    EnergyReport,
    Kind,
    LayerEnergy,
    Machine,
    Made,
    Making,
    Provenance,
    Quantity,
    Score,
    Study,
    Timing,
    Trial,
    content_key,
)
from joulemark.stats import paired_ratio
from joulemark.store import Store

MACHINE, TASK, TASK_KEY = "toy-cpu", "toy", "0123456789abcdef"
FOLDER = f"{TASK}-{TASK_KEY[:8]}"
SEEDS = (0, 1)
GENTLE, GREEDY = {"share": 0.5}, {"share": 0.9}  # the first is eligible at 2 points, the second is not


def quantity(value: float | None, unit: str, kind: Kind = Kind.MEASURED) -> Quantity:
    reason = None if value is not None else "no counter on this machine"
    return Quantity(value=value, unit=unit, kind=kind, method="made up", scope="test", source="", reason=reason)


JOULES = quantity(None, "J/input")
PROVENANCE = Provenance(
    joulemark="0", commit=None, command="test", started="2026-01-02T03:04:05Z", versions={},
    machine=Machine(
        hardware_class=MACHINE, processor="Toy", cores=2, memory_bytes=1, accelerator=None, system="x", virtual=None,
        governor=None,
    ),
)  # fmt: skip


def net_bytes(technique: str, knobs: dict, seed: int) -> bytes:
    return f"weights of {technique} {knobs} {seed}".encode()


def net_hash(technique: str, knobs: dict, seed: int) -> str:
    return hashlib.sha256(net_bytes(technique, knobs, seed)).hexdigest()[:16]


def score(split: str, wrong: int, images: int = 1004) -> Score:
    """1,004 images, so that the last byte is padded; the first ``wrong`` are wrong."""
    bits = "0" * wrong + "1" * (images - wrong)
    text = f"{int(bits.ljust(-(-images // 8) * 8, '0'), 2):0{-(-images // 8) * 2}x}"
    return Score(split=split, images=images, accuracy=(images - wrong) / images, correct=text)


def wrong_of(knobs: dict) -> int:
    return {0.5: 22, 0.9: 150}.get(knobs.get("share"), 20)


def report(knobs: dict) -> EnergyReport:
    joules = {"MAC": 1e-6 * (1 - knobs.get("share", 0)), "DRAM": 2e-6}
    layer = LayerEnergy(layer="conv1", operator="conv", joules=joules, macs=800.0)
    total = quantity(sum(joules.values()), "J/input", Kind.MODELLED)
    return EnergyReport(model="toy-model", joules=total, layers=(layer,), coverage=0.8, assumptions=(), sources=())


PROXIES = {"parameters": 100.0, "nonzero_parameters": 90.0, "macs_per_input": 1000.0, "macs": 1000.0}


def made(technique: str, knobs: dict, seed: int) -> Made:
    start = None if technique == "baseline" else net_hash("baseline", {}, seed)
    making = Making(seconds=1.0, cpu_seconds=2.0, image_passes=10, joules=quantity(None, "J"))
    return Made(
        key=content_key("made", technique, knobs, seed), task=TASK, task_key=TASK_KEY, technique=technique, knobs=knobs,
        seed=seed, start=start, net=net_hash(technique, knobs, seed), making=making, code="x", provenance=PROVENANCE,
    )  # fmt: skip


def attempt(technique: str, knobs: dict, seed: int) -> Attempt:
    source = made(technique, knobs, seed)
    return Attempt(
        key=content_key("attempt", source.key), task=TASK, task_key=TASK_KEY, technique=technique, knobs=knobs,
        seed=seed, made=source.key, net=source.net, score=score("validation", wrong_of(knobs)), execution="real",
        reason=None, seconds=quantity(1e-3 * (1 - knobs.get("share", 0)), "s/input"), joules=JOULES,
        models={"toy-model": report(knobs).joules}, proxies=PROXIES, making=source.making, provenance=PROVENANCE,
    )  # fmt: skip


def trial(technique: str, knobs: dict, seed: int) -> Trial:
    chosen = attempt(technique, knobs, seed)
    blocks = tuple((1e-3 * (1 + 0.01 * i), 1e-3 * (1 - knobs.get("share", 0)), 1e-3) for i in range(4))
    timing = Timing(
        backend="eager", batch_size=1, threads=1, precision="fp32", execution="real", reason=None,
        seconds=quantity(blocks[0][1], "s/input"), baseline_seconds=quantity(1e-3, "s/input"),
        ratio=paired_ratio(blocks), joules=JOULES, blocks=blocks,
    )  # fmt: skip
    return Trial(
        key=content_key("trial", chosen.key), attempt=chosen.key, task=TASK, task_key=TASK_KEY, hardware_class=MACHINE,
        technique=technique, knobs=knobs, seed=seed, net=chosen.net or "",
        scores={"eager": score("test", wrong_of(knobs))}, timings=(timing,), models=(report(knobs),), proxies=PROXIES,
        provenance=PROVENANCE,
    )  # fmt: skip


def baseline_trial(seed: int) -> Trial:
    return trial("baseline", {}, seed)


def study() -> Study:
    return Study(
        key="toy-suite", settings="x", limits_points=(2.0,), models=("toy-model",),
        baselines=tuple(attempt("baseline", {}, seed).key for seed in SEEDS),
        attempts={"halve": tuple(attempt("halve", knobs, seed).key for knobs in (GENTLE, GREEDY) for seed in SEEDS)},
        trials=tuple(trial(name, knobs, s).key for name, knobs in (("baseline", {}), ("halve", GENTLE)) for s in SEEDS),
    )  # fmt: skip


def fill(root: Path) -> Store:
    """Write the whole folder."""
    store = Store(root, hardware_class=MACHINE, task=FOLDER)
    for technique, knobs in (("baseline", {}), ("halve", GENTLE), ("halve", GREEDY)):
        for seed in SEEDS:
            store.write(f"nets/{net_hash(technique, knobs, seed)}.safetensors", net_bytes(technique, knobs, seed))
            store.put(made(technique, knobs, seed))
            store.put(attempt(technique, knobs, seed))
            if knobs != GREEDY:
                store.put(trial(technique, knobs, seed))
    store.put(study())
    return store
