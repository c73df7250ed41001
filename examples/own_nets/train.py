"""Train one of these nets from scratch by its own recipe, in plain PyTorch: ``python examples/own_nets/train.py NAME``.

Writes ``NAME.safetensors`` beside this file and adds a line to ``TRAINING.md``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import math
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

FOLDER = Path(__file__).parent
NAMES = ("motion", "mobile", "se_residual")  # digits comes with its weights
SEED = 0


def rows(source: object) -> tuple[Tensor, Tensor]:
    """Inputs and labels of arrays, of a dataset or of a loader, as two tensors."""
    if isinstance(source, tuple):
        return torch.as_tensor(source[0]), torch.as_tensor(source[1])
    loader = DataLoader(source, batch_size=1000) if isinstance(source, Dataset) else source
    inputs, labels = zip(*loader, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def rate_factor(progress: float) -> float:
    """Of the learning rate: rises over the first tenth of the steps, then falls to zero along half a cosine."""
    return progress / 0.1 if progress < 0.1 else 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def fit(task: ModuleType, module: nn.Module) -> None:
    """Train ``module`` in place: Nesterov SGD on cross-entropy, fp32."""
    inputs, labels = rows(task.train())
    layout = torch.channels_last if inputs.dim() == 4 else torch.contiguous_format  # faster for images on CPUs
    module.to(memory_format=layout)
    epochs, batch_size, rate = (task.recipe[name] for name in ("epochs", "batch_size", "learning_rate"))
    optimiser = torch.optim.SGD(
        module.parameters(), rate, task.recipe["momentum"], weight_decay=task.recipe["weight_decay"], nesterov=True
    )
    generator = torch.Generator().manual_seed(SEED)
    steps = epochs * math.ceil(len(labels) / batch_size)
    step = 0
    for epoch in range(epochs):
        module.train()
        total, began = 0.0, time.perf_counter()
        for chosen in torch.randperm(len(labels), generator=generator).split(batch_size):
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_factor(step / steps)
            batch = task.augment(task.preprocess(inputs[chosen]), generator).contiguous(memory_format=layout)
            loss = nn.functional.cross_entropy(module(batch), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
            step += 1
        line = f"epoch {epoch + 1}: loss {total / len(labels):.4f}, {time.perf_counter() - began:.1f} s"
        if epoch % 5 == 4 or epoch + 1 == epochs:
            line += f", validation {score(task, module, task.validation()):.2%}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def score(task: ModuleType, module: nn.Module, source: object) -> float:
    """The task's metric, 0 to 1."""
    inputs, labels = rows(source)
    with torch.inference_mode():
        module.eval()
        predicted = torch.cat([module(task.preprocess(batch)).argmax(1) for batch in inputs.split(500)])
    if getattr(task, "metric", "accuracy") == "weighted-f1":
        return float(f1_score(labels, predicted, average="weighted"))
    return float(accuracy_score(labels, predicted))


def processor() -> str:
    """Name of the processor, as Linux gives it, and the number of threads."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, {threads} thread{'s' * (threads > 1)}"


def main() -> None:
    """Train, save and note it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    name = parser.parse_args().name
    task = importlib.import_module(name)  # noqa: TID251 - the files beside this one
    torch.manual_seed(SEED)
    module = task.build()
    began = time.perf_counter()
    fit(task, module)
    seconds = time.perf_counter() - began
    module.to(memory_format=torch.contiguous_format)
    validated, tested = (score(task, module, source) for source in (task.validation(), task.test()))
    partial = task.WEIGHTS.with_suffix(".partial")
    save_file(module.state_dict(), partial)
    os.replace(partial, task.WEIGHTS)  # noqa: PTH105 - a reader sees the old file or the new one
    day = datetime.datetime.now(tz=datetime.UTC).date()
    metric = getattr(task, "metric", "accuracy")
    line = (
        f"| {name} | {day} | {task.recipe['epochs']} | {seconds:.0f} | {processor()} | torch {torch.__version__} | "
        f"{metric} | {validated:.2%} | {tested:.2%} |\n"
    )
    with (FOLDER / "TRAINING.md").open("a") as log:
        log.write(line)
    sys.stdout.write(line)


if __name__ == "__main__":
    main()
