"""Conditional deep learning: linear classifiers after the convolutional stages, easy inputs leave early.

Idea:
    After the baseline is trained, a linear classifier is attached to each stage and trained by the delta rule (least
    mean squares) with the trunk frozen; a stage is admitted by its gain. A row leaves at the first stage whose
    classifier has exactly one output that reaches the threshold, so easy inputs skip the rest of the net.

Equations:
    delta rule:  W ← W + η (t − W x) xᵀ,   t one-hot, x the features of the stage;  here the mean over a mini-batch,
    with momentum 0.9,  η = s(p) / E|x|²,  s the recipe's schedule (warm-up, cosine), p the progress
    leave at stage i  ⇔  exactly one output of its classifier ≥ threshold
    gain of stage i ("incremental"):  G = (base − trunk_i − head_i) · leave_i − head_i · stay_i
    gain as the paper has it ("literal"):  G = (base − γ_i) · leave_i − γ_i · stay_i,   γ_i = trunk_i + heads up to i
    admitted  ⇔  G > epsilon · base · (leave_i + stay_i);   base, trunk, head in multiply-accumulates

Claims:
    - 1.91x fewer operations; MNIST, operations per input; the conventional net; 97.5 to 98.9 % [seen: abstract]
    - 1.84x less energy; MNIST; the conventional net; 97.5 to 98.9 % [seen: abstract]
    - 1.91x and 1.84x; of a three-stage net of sigmoids, weak for MNIST, its energy of synthesised logic (RTL); the same
      net without exits; 97.55 to 98.92 % [recalled]
    - 1.73x fewer operations; two-stage net on MNIST, operations per input; the same net without exits; 98.04 to
      99.05 % [recalled]

Reference:
    P. Panda, A. Sengupta, K. Roy, "Conditional Deep Learning for energy-efficient and enhanced pattern recognition",
    DATE 2016 (arXiv 1509.08971).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.nets.routers.exactly_one import exactly_one
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique
from joulemark.training import MakeOptimiser
from joulemark.workloads.workload import Workload


@technique(
    "conditional-deep-learning",
    paper="Panda, Sengupta, Roy 2016",
    family="conditional computation",
    knob="threshold",
    gives={"dynamic"},
)
def conditional_deep_learning(
    net: Net,
    bench: Workbench,
    *,
    threshold: Annotated[float, Range(0.4, 1.0, gentle="high")] = 0.5,
    reading: Literal["incremental", "literal"] = "incremental",
    admit_first: bool = True,
    epsilon: Annotated[float, Range(0.0, 1.0)] = 0.0,
) -> Net:
    """Attach early linear exits that pay for themselves, in operations, on the policy images.

    ``reading`` is how the gain charges a row that goes on (see :func:`gain`). The first stage is admitted without a
    test if ``admit_first``, as in the paper, which tests "from the second layer onwards". ``epsilon`` is the least
    gain, as a share of the operations of all rows that reach the stage. The gain is taken on the policy split, not on
    the training images as in the paper: classifiers are over-confident on images that trained them. Every head is
    trained on all training images, whichever stages are admitted. ``threshold`` ends at 0.4: below it two outputs
    reach it so often that fewer rows leave, and those less accurately (LeNet on 1,000 MNIST images, one seed: 768
    leave the first stage at 0.5, 864 at 0.4, 761 at 0.3, 436 at 0.2).
    """
    macs = stage_macs(bench.workload(net), [name for name, _ in net.module(formats=False).named_children()])
    stages = places(net, macs, bench.task.classes)
    # Named by the net: in a composition the steps before may hand on another trunk with every attempt.
    full = bench.remember(f"heads of {net.hash}", lambda: train_heads(net, bench, stages), shared=True)
    costs = segment_macs(macs, stages)
    admitted, report = admit(full, bench, costs, threshold, reading, admit_first=admit_first, epsilon=epsilon)
    bench.note("stages", report)
    if not admitted:
        return net
    exits = tuple(e for e in _exits(full, threshold) if e.after in admitted)
    dropped = {f"exits.{name}." for name in stages if name not in admitted}
    state = {name: t for name, t in full.state.items() if not any(name.startswith(start) for start in dropped)}
    return full.replace(route=Route(kind="exits", exits=exits), state=state)


def train_heads(net: Net, bench: Workbench, stages: list[str]) -> Net:
    """``net`` with a linear classifier after each of ``stages``, trained by the delta rule, the trunk frozen."""
    exits = []
    images, _ = next(bench.batches("train", batch_size=256))
    features, powers = images, {}
    with torch.no_grad():
        for name, stage in net.module(formats=False).named_children():
            features = stage(features)
            if name in stages:
                flat = features.flatten(1)
                powers[name] = float((flat**2).sum(1).mean()) + 1.0  # the bias sees a constant 1
                width, classes = flat.shape[1], bench.task.classes
                exits.append(Exit(after=name, router="exactly-one", threshold=0.5, features=width, classes=classes))
    routed = net.replace(route=Route(kind="exits", exits=tuple(exits)), state={})
    blank = routed.module()
    own = dict(blank.named_parameters()) | dict(blank.named_buffers())
    zeros = {name: torch.zeros_like(t) for name, t in own.items() if name.startswith("exits.")}
    routed = routed.replace(state={**net.state, **zeros})
    return bench.fit(routed, epochs=bench.epochs, loss=squared_error, optimiser=delta_rule(powers))


def squared_error(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance of every early exit's outputs to the one-hot label, summed over exits and classes."""
    outputs = module.forward_all(images)[:-1]  # type: ignore[operator]
    target = nn.functional.one_hot(labels, outputs[0].shape[1]).float()
    return torch.stack([0.5 * ((output - target) ** 2).sum(1).mean() for output in outputs]).sum()


def delta_rule(powers: dict[str, float]) -> MakeOptimiser:
    """Least mean squares for the heads alone: steps of 1 / E[|x|^2] of each head's features x, with momentum 0.9.

    Widrow and Hoff 1960; the step is stable because the Hessian E[x x'] has no eigenvalue above E[|x|^2].
    """

    def make(module: nn.Module) -> torch.optim.Optimizer:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.startswith("exits."))
        groups = [
            {"params": list(module.get_submodule(f"exits.{name}").parameters()), "lr": 1.0 / power}
            for name, power in powers.items()
        ]
        return torch.optim.SGD(groups, momentum=0.9)

    return make


def places(net: Net, macs: Mapping[str, float], classes: int) -> list[str]:
    """Children of the net after which an exit may stand, in order; ``macs`` are those of each child.

    In the paper these are the stages, a convolution with its pooling. Here a stage is a child with layers of its own:
    a stem or a pooling that stands alone is none, unless the net has nothing else. Behind a stage there must be more
    multiply-accumulates left than a linear classifier of its features costs, or no row that leaves could spare any.
    Raises :class:`TechniqueError` if children do not run one after the other or no stage is such a place.
    """
    module = net.module(formats=False)
    children = dict(module.named_children())
    found, spent = [], 0.0
    stages = [name for name, child in children.items() if next(child.children(), None) is not None] or list(children)
    with torch.no_grad():
        x = features = torch.linspace(-1.0, 1.0, math.prod(net.input_shape)).view(1, *net.input_shape)
        try:
            for name, child in children.items():
                features, spent = child(features), spent + macs[name]
                if name in stages and sum(macs.values()) - spent > features.numel() * classes:
                    found.append(name)
            chained = torch.allclose(features, module(x), rtol=1e-4, atol=1e-5)
        except (RuntimeError, TypeError, NotImplementedError):
            chained = False
    if not chained:
        raise TechniqueError("conditional-deep-learning needs a net whose children run one after the other")
    if not found:
        raise TechniqueError("conditional-deep-learning needs a net whose children are stages, at least two of them")
    return found


def stage_macs(workload: Workload, stages: list[str]) -> dict[str, float]:
    """MACs per input of each stage, from a recorded run of the net without exits."""
    return {
        stage: sum(o.macs for o in workload.operations if o.layer.split(".")[0] == stage) / workload.inputs
        for stage in stages
    }


def segment_macs(macs: Mapping[str, float], exits: list[str]) -> list[float]:
    """MACs from each exit to the next, the first from the input and the last to the net's own output.

    >>> segment_macs({"stem": 1.0, "a": 10.0, "b": 20.0, "pool": 0.0, "c": 30.0}, ["a", "b"])
    [11.0, 20.0, 30.0]
    """
    sums = [0.0]
    for name, count in macs.items():
        sums[-1] += count
        if name in exits:
            sums.append(0.0)
    return sums


def gain(
    reading: str, *, base: float, trunk: float, head: float, earlier: float, leave: int, stay: int
) -> float:  # fmt: skip
    """Operations saved by a stage: what leavers spare minus what those who go on pay for it.

    Per row, ``base`` is the cost of the full net without exits, ``trunk`` that of its stages up to this one, ``head``
    that of this stage's classifier and ``earlier`` that of the classifiers admitted before. "literal" is the paper's

        G = (base - cumulative) leave - cumulative stay,    cumulative = trunk + earlier + head,

    which charges a row that goes on for the trunk that it uses anyway. "incremental" compares with the same net without
    this exit, where every row that comes here has paid ``earlier`` already:

        G = (base - trunk - head) leave - head stay.

    Incremental gains of the admitted stages add up to what the exits save in all.

    >>> gain("incremental", base=100, trunk=32, head=5, earlier=3, leave=10, stay=10)
    580
    >>> gain("literal", base=100, trunk=32, head=5, earlier=3, leave=10, stay=10)
    200
    """
    if reading == "literal":
        cumulative = trunk + earlier + head
        return (base - cumulative) * leave - cumulative * stay
    return (base - trunk - head) * leave - head * stay


def admit(
    full: Net, bench: Workbench, macs: list[float], threshold: float, reading: str, *, admit_first: bool, epsilon: float
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the stages whose exit pays, and what was decided for each, on the policy images that reach it."""
    module = full.module(formats=False)
    with torch.no_grad():
        batches = [module.forward_all(images) for images, _ in bench.batches("policy")]  # type: ignore[operator]
    here = torch.ones(sum(len(batch[0]) for batch in batches), dtype=torch.bool)
    base, trunk, heads = sum(macs), 0.0, 0.0
    admitted: list[str] = []
    report: list[dict[str, Any]] = []
    for position, exit in enumerate(_exits(full, threshold)):
        trunk += macs[position]
        head = float((exit.features or 0) * (exit.classes or 0))
        leaves = exactly_one(torch.cat([batch[position] for batch in batches]), threshold) & here
        leave, reach = int(leaves.sum()), int(here.sum())
        both = {
            way: gain(way, base=base, trunk=trunk, head=head, earlier=heads, leave=leave, stay=reach - leave)
            for way in ("incremental", "literal")
        }
        taken = both[reading] > epsilon * base * reach or (admit_first and position == 0)
        report.append({"stage": exit.after, "reach": reach, "leave": leave, "gain_macs": both, "admitted": taken})
        if taken:
            admitted.append(exit.after)
            here &= ~leaves
            heads += head
    return admitted, report


def _exits(net: Net, threshold: float) -> list[Exit]:
    route = net.route
    if route is None:
        raise TechniqueError("conditional-deep-learning: the net has no route")
    return [
        Exit(after=e.after, router=e.router, threshold=threshold, features=e.features, classes=e.classes)
        for e in route.exits
    ]
