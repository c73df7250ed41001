"""A tiny suite on made-up images, and techniques of a line: the road from suite to board in seconds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import load_suite
from joulemark.data.splits import Split


def tiny_suite(**changes) -> Suite:
    """The suite `quick` with short training and short windows, eager only."""
    quick = load_suite("quick")
    replace = msgspec.structs.replace
    task = replace(quick.task, name="tiny", recipe=replace(quick.task.recipe, epochs=2, options={"width": 0.3}))
    budget = replace(
        quick.budget, trained_epochs=2, trained_attempts=2, scratch_epochs=2, scratch_attempts=2, minutes=30.0
    )
    measuring = replace(quick.measuring, window_seconds=0.01, screening_seconds=0.005, blocks=3, images=20)
    suite = replace(
        quick,
        name="tiny",
        task=task,
        budget=budget,
        measuring=measuring,
        backends=("eager",),
        batch_sizes=(1,),
        seeds=(0,),
        limits_points=(40.0,),
    )
    return replace(suite, **changes)


def tiny_splits() -> dict[str, Split]:
    """Ten blurred templates with noise: learnable in two epochs, not perfectly."""
    rng = np.random.default_rng(0)
    templates = rng.normal(size=(10, 1, 28, 28)).astype(np.float32)
    splits = {}
    for name, images in {"train": 300, "policy": 100, "validation": 200, "test": 200}.items():
        labels = np.arange(images) % 10
        noise = rng.normal(scale=2.0, size=(images, 1, 28, 28)).astype(np.float32)
        splits[name] = Split(templates[labels] + noise, labels.astype(np.int64))
    return splits


def technique_file(folder: Path, name: str, body: str, **words) -> Path:
    """A file with a technique of that name; ``words`` are said of it, as ``trains=False``."""
    path = folder / f"{name}.py"
    said = "".join(f", {word}={value!r}" for word, value in words.items())
    path.write_text(
        "import time\nimport torch\nimport joulemark\n\n"
        f'@joulemark.technique("{name}", paper="none", family="test"{said})\n'
        f'def run(net, bench, *, strength: float = 1.0):\n    """Do it."""\n{body}\n'
    )
    return path
