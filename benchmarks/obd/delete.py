"""The picture of optimal brain damage: error against parameters left, predicted and actual, beside magnitude.

As in figure 1 of Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 1989: a net is trained, its parameters are
ranked once, by saliency h u^2 / 2, by magnitude |u| and by lot, and deleted in that order without retraining. All
weights and biases are ranked, as in the paper. LeNet of 1989, 2,578 parameters, under the paper's error, outputs
squashed towards +1 and -1 under squared error (one seed), and under cross-entropy (three seeds); LeNet-5 in Caffe's
form under cross-entropy (one seed).

    JOULEMARK_DATA=DIR python benchmarks/obd/delete.py

DIR holds MNIST. Trained without weight decay, its learning rate falling to zero, because the expansion is one about a
minimum of the error. Error is the mean of the first 5,000 training images, on which the curvature is taken too;
accuracy is that of the 10,000 test images, and nothing is chosen by it. Writes results.json, results.md and picture.svg
beside itself. About six minutes on one core.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from picture import draw
from torch import Tensor, nn

from joulemark.data import mnist
from joulemark.machine.machine import this_machine, versions
from joulemark.nets.builders.lenet1989 import Squash
from joulemark.nets.net import Net
from joulemark.techniques.pruning.optimal_brain_damage import saliencies
from joulemark.training import fit, sgd

HERE = Path(__file__).parent
IMAGES = 5000
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92,
          0.94, 0.96, 0.98, 0.99)  # fmt: skip
DECIBELS = 1.0
"""A curve that has risen by so much, 26 %, is said to have left the trained net."""


class Subject(NamedTuple):
    """A net and how it is trained."""

    builder: str
    title: str
    epochs: int
    learning_rate: float
    seeds: tuple[int, ...]
    squared: bool = False  # outputs squashed towards +1 and -1 under squared error, as in the paper


SUBJECTS = (
    Subject("lenet1989", "LeNet of 1989, 2,578 parameters, squared error", 6, 0.01, (0,), squared=True),
    Subject("lenet1989", "LeNet of 1989, 2,578 parameters", 6, 0.05, (0, 1, 2)),
    Subject("lenet", "LeNet-5, 431,080 parameters", 3, 0.02, (0,)),
)


def pixels(pair: tuple) -> tuple[Tensor, Tensor]:
    """Images scaled as the suite `mnist` scales them, and labels."""
    images, labels = pair
    return (torch.tensor(images).float() / 255 - 0.1307) / 0.3081, torch.from_numpy(labels)


def trained(subject: Subject, seed: int, train: tuple[Tensor, Tensor]) -> nn.Module:
    """The net at a minimum, as good as these epochs get."""
    module = Net.new(subject.builder, (1, 28, 28), seed=seed).module()
    module = nn.Sequential(module, Squash()) if subject.squared else module
    fit(module, *train, epochs=subject.epochs, batch_size=64, seed=seed, optimiser=sgd(subject.learning_rate),
        loss=lambda net, images, labels: error_of(net(images), labels, squared=subject.squared))  # fmt: skip
    return module


def error_of(outputs: Tensor, labels: Tensor, *, squared: bool) -> Tensor:
    """Mean error of an image: cross-entropy, or the sum of squared differences to +1 and -1."""
    if not squared:
        return nn.functional.cross_entropy(outputs, labels)
    targets = 2.0 * nn.functional.one_hot(labels, outputs.shape[1]) - 1.0
    return (outputs - targets).square().sum(1).mean()


@torch.no_grad()
def scores(module: nn.Module, images: Tensor, labels: Tensor, *, squared: bool) -> tuple[float, float]:
    """Mean error and accuracy in percent."""
    outputs = torch.cat([module(batch) for batch in images.split(500)])
    right = (outputs.argmax(1) == labels).double().mean()
    return float(error_of(outputs, labels, squared=squared)), 100 * float(right)


def deleting(module: nn.Module, order: Tensor, score: Callable[[], dict[str, float]]) -> list[dict[str, float]]:
    """What ``score`` says after each share of the parameters, in this order, is set to zero."""
    whole = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    rows = []
    for share in SHARES:
        vector = whole.clone()
        vector[order[: round(share * len(order))]] = 0.0
        nn.utils.vector_to_parameters(vector, module.parameters())
        rows.append({"share": share, "left": len(order) - round(share * len(order)), **score()})
    nn.utils.vector_to_parameters(whole, module.parameters())
    return rows


def study(subject: Subject, seed: int, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict:
    """Train, rank and delete: rows a ranking, and the error that the saliencies predict."""
    module = trained(subject, seed, train)
    sample = (train[0][:IMAGES], train[1][:IMAGES])
    batches = list(zip(*(part.split(250) for part in sample), strict=True))
    squared = subject.squared
    found = saliencies(module, batches, lambda y: torch.full_like(y, 2.0)) if squared else saliencies(module, batches)
    names = [name for name, _ in module.named_parameters()]
    saliency = torch.cat([found[name].flatten() for name in names]).double()
    size = nn.utils.parameters_to_vector(module.parameters()).detach().abs()
    lot = torch.rand(len(size), generator=torch.Generator().manual_seed(seed))

    def both() -> dict[str, float]:
        (error, _), (_, accuracy) = (scores(module, *part, squared=squared) for part in (sample, test))
        return {"error": error, "accuracy_percent": accuracy}

    rows = {
        "saliency": deleting(module, saliency.argsort(), both),
        "magnitude": deleting(module, size.argsort(), both),
        "lot": deleting(module, lot.argsort(), lambda: {"error": scores(module, *sample, squared=squared)[0]}),
    }
    predicted = saliency.sort().values.cumsum(0)
    for row in rows["saliency"]:
        gone = len(size) - row["left"]
        row["predicted"] = rows["saliency"][0]["error"] + (float(predicted[gone - 1]) if gone else 0.0)
    return {"seed": seed, "parameters": len(size), **rows}


def decibels(row: dict[str, float], key: str = "error") -> float:
    """The paper's scale."""
    return 10 * math.log10(row[key])


def held(rows: list[dict[str, float]]) -> float:
    """The greatest share up to which the error stays within the margin of the trained net's."""
    good = 0.0
    for row in rows:
        if decibels(row) > decibels(rows[0]) + DECIBELS:
            break
        good = row["share"]
    return good


def foretold(rows: list[dict[str, float]]) -> float:
    """The greatest share up to which predicted and actual error differ by no more than the margin."""
    good = 0.0
    for row in rows:
        if abs(decibels(row) - decibels(row, "predicted")) > DECIBELS:
            break
        good = row["share"]
    return good


def better(run: dict) -> tuple[int, int]:
    """At how many shares, of those that delete something, the error is less by saliency than by magnitude."""
    pairs = list(zip(run["saliency"], run["magnitude"], strict=True))[1:]
    return sum(s["error"] < m["error"] for s, m in pairs), len(pairs)


def accurate(run: dict) -> int:
    """At how many of the same shares test accuracy is no less by saliency than by magnitude."""
    pairs = list(zip(run["saliency"], run["magnitude"], strict=True))[1:]
    return sum(s["accuracy_percent"] >= m["accuracy_percent"] for s, m in pairs)


def main() -> None:
    """Run all and write."""
    torch.set_num_threads(1)
    source = mnist.read()
    train, test = pixels(source.train), pixels(source.test)
    results = []
    for subject in SUBJECTS:
        runs = [study(subject, seed, train, test) for seed in subject.seeds]
        results.append({**subject._asdict(), "runs": runs})
        print(subject.title, [(held(run["saliency"]), held(run["magnitude"]), better(run)) for run in runs], flush=True)
    facts = {"machine": this_machine().hardware_class, "versions": versions()}
    (HERE / "results.json").write_text(json.dumps({"nets": results, **facts}, indent=1) + "\n", encoding="utf-8")
    write(results)


def write(results: list[dict]) -> None:
    """The picture and the words, from the numbers alone."""
    (HERE / "picture.svg").write_text(draw(results), encoding="utf-8")
    (HERE / "results.md").write_text("\n".join(words(results)), encoding="utf-8")


def words(results: list[dict]) -> list[str]:
    """The results as Markdown."""
    return [
        "# Optimal brain damage: predicted and actual error, beside magnitude", "",
        "Made by `delete.py`, which says how. Parameters are deleted in an order fixed at the trained net, without",
        f"retraining; error is the mean of {IMAGES:,} training images, cross-entropy unless said otherwise.", "",
        "![The curves](picture.svg)", "", *verdicts(results), "",
        "| net, seed | error, test accuracy | saliency | magnitude | by lot | foretold | less error by saliency |",
        "|---|---|---|---|---|---|---|",
        *(summary(net["title"], run) for net in results for run in net["runs"]), "",
        f"Columns 3 to 5: how much can be deleted until the error has risen by {DECIBELS:g} dB (26 %). Column 6: up to",
        f"how much the prediction is within {DECIBELS:g} dB of the error. Column 7: at how many of the shares tried",
        "the error is less by saliency than by magnitude.", "",
        *(line for net in results for line in table(net["title"], net["runs"][0])),
    ]  # fmt: skip


def verdicts(results: list[dict]) -> list[str]:
    """A sentence a net: whether saliency beats magnitude; then what the paper says."""
    said = []
    for net in results:
        counts = [better(run) for run in net["runs"]]
        wins, tried = (sum(column) for column in zip(*counts, strict=True))
        level = sum(map(accurate, net["runs"]))
        verdict = "beats" if wins == tried else "mostly beats" if wins > 0.75 * tried else "does not beat"
        reach = ", ".join(
            f"{100 * held(r['saliency']):.0f} against {100 * held(r['magnitude']):.0f} %" for r in net["runs"]
        )
        said += [f"**{net['title']}: saliency {verdict} magnitude**: less error at {wins} of {tried} shares,",
                 f"test accuracy not less at {level}; deleted within {DECIBELS:g} dB {reach}.", ""]  # fmt: skip
    return [
        *said, "The paper, for its 2,578 parameters under squared error: predicted and actual agree for up to about",
        "800 deleted, 30 %; saliency causes a significantly smaller increase than magnitude; deletion by lot is off",
        "its scale (seen: section 2.3). What its second derivatives leave out, [shared.md](shared.md) measures: the",
        "uses of a shared weight together.",
    ]  # fmt: skip


def summary(title: str, run: dict) -> str:
    """One line a run."""
    first, (wins, tried) = run["saliency"][0], better(run)
    shares = (held(run["saliency"]), held(run["magnitude"]), held(run["lot"]), foretold(run["saliency"]))
    cells = [f"{title}, {run['seed']}", f"{first['error']:.4f}, {first['accuracy_percent']:.2f} %"]
    return f"| {' | '.join([*cells, *(f'{100 * share:.0f} %' for share in shares), f'{wins} of {tried}'])} |"


def table(title: str, run: dict) -> list[str]:
    """Every share of one run."""
    lines = [f"## {title}, seed {run['seed']}", "",
             "| deleted | left | predicted | saliency | magnitude | by lot | accuracy: saliency | magnitude |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for s, m, lot in zip(run["saliency"], run["magnitude"], run["lot"], strict=True):
        errors = (s["predicted"], s["error"], m["error"], lot["error"])
        accuracies = (s["accuracy_percent"], m["accuracy_percent"])
        cells = [f"{100 * s['share']:.0f} %", f"{s['left']:,}", *(f"{error:.4f}" for error in errors)]
        lines.append(f"| {' | '.join([*cells, *(f'{accuracy:.2f} %' for accuracy in accuracies)])} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
