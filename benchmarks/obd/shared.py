"""Why saliency does not beat magnitude on LeNet of 1989: what the paper's second derivatives leave out.

Equation 5 of the paper adds the second derivatives of all uses of a shared weight, as if a change of the weight at one
place of the image said nothing about another. The exact diagonal of the Gauss-Newton matrix, 2 sum over outputs c of
(dy_c / du_k)^2 under squared error, keeps what the uses do together. Here both rank the same net, the first of
results.md, on 1,000 training images.

    JOULEMARK_DATA=DIR python benchmarks/obd/shared.py

Writes shared.md beside itself. About a minute on one core.
"""

from __future__ import annotations

import sys

import torch
from delete import HERE, SUBJECTS, decibels, deleting, pixels, scores, trained
from torch import Tensor, nn

from joulemark.data import mnist
from joulemark.techniques.pruning.optimal_brain_damage import saliencies

IMAGES = 1000


def exact(module: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Saliencies with the exact Gauss-Newton diagonal of the mean squared error, from Jacobians of every image."""
    weights = {name: p.detach() for name, p in module.named_parameters()}
    total = {name: torch.zeros_like(p) for name, p in weights.items()}

    def outputs(given: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(module, given, (row[None],))[0]

    for batch in images.split(50):
        found = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(weights, batch)
        for name, jacobian in found.items():
            total[name] += 2.0 * jacobian.square().sum((0, 1)) / len(images)
    return {name: 0.5 * total[name] * p**2 for name, p in weights.items()}


def main() -> None:
    """Train the net of results.md once more, rank it three ways, and tell."""
    torch.set_num_threads(1)
    train = pixels(mnist.read().train)
    module = trained(SUBJECTS[0], 0, train)
    sample = (train[0][:IMAGES], train[1][:IMAGES])
    rules = {
        "exact diagonal": exact(module, sample[0]),
        "the paper's": saliencies(module, [sample], lambda y: torch.full_like(y, 2.0)),
        "magnitude": {name: p.detach().abs() for name, p in module.named_parameters()},
    }
    curves = {}
    for rule, found in rules.items():
        order = torch.cat([found[name].flatten() for name, _ in module.named_parameters()]).argsort()
        curves[rule] = deleting(module, order, lambda: {"error": scores(module, *sample, squared=True)[0]})
    lines = ["# What the uses of a shared weight do together", "", "Made by `shared.py`, which says how.", "",
             "| deleted | error, exact diagonal | the paper's diagonal | magnitude |", "|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {100 * rows[0]['share']:.0f} % | " + " | ".join(format(row["error"], ".4f") for row in rows) + " |"
        for rows in zip(*curves.values(), strict=True)
    ]
    lines += ["", "| parameters | sum of saliencies, exact over the paper's |", "|---|---|"]
    paper = rules["the paper's"]
    for name, found in rules["exact diagonal"].items():
        lines.append(f"| {name.removeprefix('0.')} | {float(found.sum() / paper[name].sum()):.1f} |")
    (HERE / "shared.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print({rule: [round(decibels(row), 2) for row in rows] for rule, rows in curves.items()})


if __name__ == "__main__":
    sys.exit(main())
