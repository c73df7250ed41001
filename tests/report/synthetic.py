"""Made-up results with numbers that can be checked by hand: no net was trained, nothing was timed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from joulemark.judging.packed import pack
from joulemark.judging.rules import BASELINE
from joulemark.judging.statistics import paired_ratio
from joulemark.judging.trace import trace
from joulemark.judging.truths import truth_record
from joulemark.record import (
    Attempt,
    EnergyReport,
    Failure,
    Kind,
    LayerEnergy,
    Machine,
    Making,
    Provenance,
    Quantity,
    Ratio,
    Score,
    Timing,
    Trial,
)
from joulemark.report.results import Results

IMAGES = 2000
CODE = trace(["joulemark.judging.statistics"])
"""Every record is of the code of now."""
BASELINE_SECONDS = 4e-4
LAYERS = {"conv1": 3.0, "conv2": 5.0, "fc1": 2.0}  # modelled microjoules of the baseline


@dataclass(frozen=True)
class Setting:
    """One setting of one technique: what it divides seconds, joules and MACs by, and how many images it loses."""

    technique: str
    knob: float
    speed: float
    model: tuple[float, ...]  # by seed
    macs: float
    wrong: int  # images right with the baseline and wrong here
    execution: str = "real"
    tested: bool = False
    wrong_test: int | None = None
    wobble: float = 0.0  # half-width of the blocks' spread


FAST = Setting("conditional-deep-learning", 0.5, 2.0, (2.0, 2.0), 2.4, 10, tested=True)
SETTINGS = (
    Setting(BASELINE, 0.0, 1.0, (1.0, 1.0), 1.0, 0, tested=True),
    replace(FAST, knob=0.9, speed=1.2, model=(1.3, 1.3), wrong=2, tested=False),
    FAST,
    replace(FAST, knob=0.1, speed=3.0, model=(3.0, 3.0), wrong=200, tested=False),
    Setting("unstructured-pruning", 0.6, 0.9, (2.0, 4.0), 3.0, 12, execution="simulated", tested=True),
    Setting("binary-weights", 1.0, 1.5, (6.0, 6.0), 1.0, 160),
)


def quantity(value: float | None, unit: str, kind: Kind, reason: str | None = None) -> Quantity:
    return Quantity(value=value, unit=unit, kind=kind, method="made up", scope="test", source="", reason=reason)


NO_JOULES = quantity(None, "J/input", Kind.MEASURED, "no energy counter on this machine")


TRUTH = {split: truth_record("toy", "k", split, np.arange(IMAGES) % 10, classes=10) for split in ("validation", "test")}
TRUTHS = {truth.key: truth for truth in TRUTH.values()}


def score(split: str, wrong: int, seed: int) -> Score:
    correct = np.ones(IMAGES, dtype=bool)
    correct[:40] = False  # what the baseline gets wrong
    start = 40 + 7 * seed
    correct[start : start + wrong] = False
    return Score(
        split=split, metric="accuracy", rows=IMAGES, value=float(correct.mean()),
        predicted=pack((np.arange(IMAGES) + ~correct) % 10), truth=TRUTH[split].key,
    )  # fmt: skip


def provenance(hardware_class: str = "toy-cpu") -> Provenance:
    machine = Machine(
        hardware_class=hardware_class,
        processor="Toy CPU 3000",
        cores=2,
        memory_bytes=8 << 30,
        accelerator=None,
        system="Linux 6.1",
        virtual=True,
        governor=None,
    )
    return Provenance(
        joulemark="0.1.0",
        commit="0123abcd",
        command="joulemark run quick",
        started="2026-01-02T03:04:05Z",
        machine=machine,
        versions={"python": "3.11", "torch": "2.13.0"},
        load_average=0.4,
    )


def attempt(setting: Setting, seed: int) -> Attempt:
    return Attempt(
        code=CODE,
        key=f"{setting.technique}-{setting.knob}-{seed}",
        task="toy",
        task_key="toy-1",
        technique=setting.technique,
        knobs=() if setting.technique == BASELINE else ({"strength": setting.knob},),
        seed=seed,
        made=f"made-{setting.technique}-{setting.knob}-{seed}",
        net=f"net{abs(hash((setting.knob, seed))) % 97:02d}",
        score=score("validation", setting.wrong, seed),
        execution=setting.execution,
        reason=None if setting.execution == "real" else "no kernel skips unstructured zeros",
        seconds=quantity(BASELINE_SECONDS / setting.speed, "s/input", Kind.MEASURED),
        joules=NO_JOULES,
        models={"row-stationary": quantity(1e-5 / setting.model[seed], "J/input", Kind.MODELLED)},
        proxies={"macs_per_input": 1e6 / setting.macs},
        making=Making(seconds=60.0, cpu_seconds=100.0, image_passes=1000, joules=NO_JOULES),
        provenance=provenance(),
    )


def timing(setting: Setting, seed: int, backend: str, batch_size: int) -> Timing:
    base = BASELINE_SECONDS / (1 + 0.5 * (batch_size > 1))
    jitter = np.random.default_rng(seed).uniform(-1, 1, size=(12, 3)) * setting.wobble
    rows = np.array([[1.0, 1.0 / setting.speed, 1.0]] * 12) * (1 + jitter) * base
    blocks = tuple((float(a), float(b), float(c)) for a, b, c in rows)
    return Timing(
        backend=backend,
        batch_size=batch_size,
        threads=2,
        precision="fp32",
        execution=setting.execution,
        reason=None if setting.execution == "real" else "no kernel skips unstructured zeros",
        seconds=quantity(base / setting.speed, "s/input", Kind.MEASURED),
        baseline_seconds=quantity(base, "s/input", Kind.MEASURED),
        ratio=paired_ratio(blocks),
        joules=NO_JOULES,
        blocks=blocks,
        order=("baseline", "candidate", "baseline") * 12,
    )


def trial(setting: Setting, seed: int) -> Trial:
    made = attempt(setting, seed)
    scale = setting.model[seed]
    layers = tuple(
        LayerEnergy(
            layer=name,
            operator="linear" if name.startswith("fc") else "conv",
            joules={"DRAM": micro * 0.5e-6 / scale, "buffer": micro * 0.3e-6 / scale, "MAC": micro * 0.2e-6 / scale},
            macs=1e5 / setting.macs,
        )
        for name, micro in LAYERS.items()
    )
    wrong = setting.wrong if setting.wrong_test is None else setting.wrong_test
    return Trial(
        code=CODE,
        key=f"trial-{made.key}",
        attempt=made.key,
        task="toy",
        task_key="toy-1",
        hardware_class="toy-cpu",
        technique=setting.technique,
        knobs=made.knobs,
        seed=seed,
        net=made.net or "",
        scores={backend: score("test", wrong, seed) for backend in ("onnxruntime", "eager")},
        timings=tuple(timing(setting, seed, backend, size) for backend in ("onnxruntime", "eager") for size in (1, 64)),
        models=(
            EnergyReport(
                model="row-stationary",
                joules=quantity(1e-5 / scale, "J/input", Kind.MODELLED),
                layers=layers,
                coverage=0.98,
                assumptions=("weights fit the global buffer",),
                sources=("Chen et al. 2016",),
            ),
        ),
        proxies=made.proxies,
        notes={"quiet": "no foreign process above 5 % of a core"},
        provenance=made.provenance,
    )


def make_results(settings: tuple[Setting, ...] = SETTINGS, *, limits: tuple[float, ...] = (2.0,)) -> Results:
    """Two seeds: one technique fast and eligible, one simulated, one ineligible and one failed."""
    return Results(
        suite_name="quick",
        task_title="Toy digits",
        hardware_class="toy-cpu",
        limits_points=limits,
        models=("row-stationary",),
        backends=("onnxruntime", "eager"),
        batch_sizes=(1, 64),
        command="joulemark run quick",
        attempts=[attempt(setting, seed) for setting in settings for seed in (0, 1)],
        trials=[trial(setting, seed) for setting in settings for seed in (0, 1) if setting.tested],
        truths=TRUTHS,
        failures=[
            Failure(
                key="f",
                task="toy",
                task_key="toy-1",
                technique="squeezenet",
                knobs=({"width": 0.5},),
                seed=0,
                reason="the loss became NaN in epoch 3",
                started="2026-01-02T03:04:05Z",
            )
        ],
        damaged=[("results/toy/broken.json", "not valid JSON at byte 12")],
    )


def with_control(results: Results, backend: str, batch_size: int, ratio: Ratio) -> Results:
    """The same results as if the baseline had been measured against itself with this outcome in one setting."""

    def changed(record: Timing) -> Timing:
        here = (record.backend, record.batch_size) == (backend, batch_size)
        return msgspec.structs.replace(record, ratio=ratio) if here else record

    trials = [
        msgspec.structs.replace(t, timings=tuple(map(changed, t.timings))) if t.technique == BASELINE else t
        for t in results.trials
    ]
    return msgspec.structs.replace(results, trials=trials)


def with_joules(results: Results, flags: tuple[str, ...] = ()) -> Results:
    """The same results as if a counter had measured half the joules of the baseline for the fast technique."""
    measured = msgspec.structs.replace(quantity(1.0, "J/input", Kind.MEASURED), flags=flags)
    half = msgspec.structs.replace(quantity(0.5, "J/input", Kind.MEASURED), flags=flags)
    ratio = Ratio(value=2.0, low=1.9, high=2.1, count=12)

    def metered(record: Trial) -> Trial:
        fast = record.technique == FAST.technique
        timings = tuple(
            msgspec.structs.replace(t, joules=half if fast else measured, joules_ratio=ratio if fast else None)
            for t in record.timings
        )
        return msgspec.structs.replace(record, timings=timings)

    def screened(record: Attempt) -> Attempt:
        chosen = record.technique == FAST.technique and record.knobs == ({"strength": FAST.knob},)
        return msgspec.structs.replace(record, joules=half if chosen else measured)

    attempts = [screened(record) for record in results.attempts]
    trials = [metered(record) for record in results.trials]
    return msgspec.structs.replace(results, attempts=attempts, trials=trials)


def with_metric(results: Results, name: str) -> Results:
    """The same predictions, judged by another metric."""

    def judged(score: Score) -> Score:
        return msgspec.structs.replace(score, metric=name)

    attempts = [msgspec.structs.replace(one, score=judged(one.score)) for one in results.attempts]
    trials = [
        msgspec.structs.replace(one, scores={backend: judged(score) for backend, score in one.scores.items()})
        for one in results.trials
    ]
    return msgspec.structs.replace(results, attempts=attempts, trials=trials)
