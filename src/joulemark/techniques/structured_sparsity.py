"""Structured sparsity learning: whole filters, channels, kernel places or blocks go to zero and are then taken out.

Idea:
    A penalty on the length of whole groups of weights, instead of on each weight, drives groups to zero together. What
    is left is a smaller dense net, which any library runs faster.

Equations:
    E(W) = E_data(W) + λ Σ_l Σ_g ‖w⁽ᵍ⁾‖₂   over the groups of every convolution:
    filters W[n, :, :, :];  channels W[:, c, :, :];  shapes W[:, c, m, k];  depth: all weights of a residual block
    subgradient:  w ← w − η (∇E_data + λ w / ‖w⁽ᵍ⁾‖), then |w| < 1e-4 becomes 0
    proximal:     w ← w − η ∇E_data, then w⁽ᵍ⁾ ← w⁽ᵍ⁾ max(0, 1 − η λ / ‖w⁽ᵍ⁾‖)

Claims:
    - 5.1x faster layers on a CPU, 3.1x on a GPU; AlexNet on ImageNet, seconds of the convolutions' products; the dense
      net; no loss of accuracy [seen: abstract]
    - ResNet of 18 layers at 7.40 % error; CIFAR-10, layers; ResNet-32 at 7.51 %; no loss of accuracy [seen: slides]

Reference:
    W. Wen, C. Wu, Y. Wang, Y. Chen, H. Li, "Learning structured sparsity in deep neural networks", NIPS 2016
    (arXiv 1608.03665).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from joulemark.nets.dependencies import Group, channel_groups, keep
from joulemark.nets.edits import replay
from joulemark.nets.net import Net
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique
from joulemark.training import MakeOptimiser, sgd

THRESHOLD = 1e-4
"""Weights below it count as zero (seen: ZEROUT_THRESHOLD of the authors' code)."""
SPARSIFYING_SHARE = 0.6
"""Share of the epochs with the penalty; then the zeros are frozen. Seen: the authors' M/2 and M/3 of M iterations."""
FIRST_RATE_SHARE = 0.7
"""Share of those at the first learning rate; the rest at a tenth (seen: the authors' README)."""
RATE = 0.1
"""Of the recipe's learning rate (seen: the same)."""

GROUPS = {"filters": (1, 2, 3), "channels": (0, 2, 3), "shapes": (0,)}
"""Axes of a weight (filters, channels, height, width) that a group runs over."""

Penalty = Callable[[nn.Module], Iterator[tuple[list[Tensor], Tensor]]]


@technique("structured-sparsity", paper="Wen et al. 2016", family="pruning", knob="strength")
def structured_sparsity(
    net: Net,
    bench: Workbench,
    *,
    strength: Annotated[float, Range(1e-3, 1.0, log=True)] = 3e-2,
    groups: Literal["filters", "filters+channels", "shapes", "depth"] = "filters+channels",
    update: Literal["subgradient", "proximal"] = "subgradient",
    round_to: Annotated[int, Range(1, 64)] = 1,
) -> Net:
    """Learn structured sparsity with a group lasso, fine-tune with the zeros frozen, and cut them out for real.

    ``strength`` is λ; the papers' values (1e-3 to 7e-3) are for a hundred times the iterations that the budget here
    allows, and what shrinks a group is λ times learning rate times iterations. ``groups`` "filters+channels" is the
    paper's breadth; the inputs of the first convolution are no channels of ours. "shapes" lowers each convolution to a
    product over the kernel places that any filter uses, "depth" bypasses residual blocks. Batch norm could undo the
    shrinking of filters: where a filter is zero, its scale and offset become zero, too. ``round_to`` keeps a multiple
    of so many channels (kept channels rounded up), as wide registers like it. Raises :class:`TechniqueError` for
    "depth" without residual blocks.
    """
    penalty = _penalty(net, groups)
    first = max(1, round(SPARSIFYING_SHARE * bench.epochs)) if bench.epochs else 0
    recipe = bench.task.recipe
    rate = _Rate(sgd(RATE * recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay))
    lasso = Lasso(penalty, strength, proximal=update == "proximal", rate=rate)
    if first:
        net = bench.fit(
            net, epochs=first, optimiser=rate, schedule=lambda progress: 1.0 if progress < FIRST_RATE_SHARE else 0.1,
            after_backward=lasso.after_backward, after_step=lasso.after_step,
        )  # fmt: skip
    frozen = freeze(net, groups)
    if bench.epochs - first:
        frozen = bench.fit(frozen, epochs=bench.epochs - first)
    small = remove(frozen, groups, round_to=round_to)
    bench.note("parameters", {"before": net.parameters(), "after": small.parameters()})
    bench.note("edits", len(small.edits) - len(net.edits))
    return small


class Lasso:
    """The penalty's two updates, as callbacks of a fit."""

    def __init__(self, groups: Penalty, strength: float, *, proximal: bool, rate: _Rate) -> None:
        self.groups, self.strength, self.proximal, self.rate = groups, strength, proximal, rate

    def after_backward(self, module: nn.Module) -> None:
        """Add the subgradient λ w / ‖w‖ of every group; 0 where the norm is 0."""
        if self.proximal:
            return
        with torch.no_grad():
            for weights, norms in self.groups(module):
                factor = torch.where(norms > 0, self.strength / norms.clamp_min(1e-12), 0.0)
                for weight in weights:
                    if weight.grad is not None:
                        weight.grad += factor * weight

    def after_step(self, module: nn.Module) -> None:
        """Zero what is below the threshold, or shrink every group by η λ."""
        with torch.no_grad():
            for weights, norms in self.groups(module):
                for weight in weights:
                    if self.proximal:
                        weight *= (1.0 - self.rate.now * self.strength / norms.clamp_min(1e-12)).clamp_min(0.0)
                    else:
                        weight[weight.abs() < THRESHOLD] = 0.0


class _Rate:
    """Makes an optimiser and remembers it: the proximal step needs the learning rate of the moment."""

    def __init__(self, make: MakeOptimiser) -> None:
        self.make = make
        self.optimiser: torch.optim.Optimizer | None = None

    def __call__(self, module: nn.Module) -> torch.optim.Optimizer:
        self.optimiser = made = self.make(module)
        return made

    @property
    def now(self) -> float:
        return 0.0 if self.optimiser is None else float(self.optimiser.param_groups[0]["lr"])


def _penalty(net: Net, groups: str) -> Penalty:
    """For a module of this net: weights with the norms of their groups, shaped to multiply them."""
    module = net.module(formats=False)
    if groups == "depth":
        blocks = residual_blocks(module)
        if not blocks:
            raise TechniqueError("structured-sparsity: groups=depth needs residual blocks, and this net has none")

        def whole(module: nn.Module) -> Iterator[tuple[list[Tensor], Tensor]]:
            for block in blocks:
                weights: list[Tensor] = [layer.weight for layer in _convolutions(module.get_submodule(block)).values()]
                yield weights, torch.stack([weight.square().sum() for weight in weights]).sum().sqrt()

        return whole
    kinds = groups.split("+")

    def parts(module: nn.Module) -> Iterator[tuple[list[Tensor], Tensor]]:
        for place, layer in enumerate(_convolutions(module).values()):
            weight: Tensor = layer.weight
            for kind in kinds:
                if kind != "channels" or place:
                    yield [weight], weight.square().sum(GROUPS[kind], keepdim=True).sqrt()

    return parts


def freeze(net: Net, groups: str) -> Net:
    """``net`` with masks on every group that is zero, and on the batch norm and bias of zero filters."""
    module = net.module(formats=False)
    masks = dict(net.masks)
    kinds = [] if groups == "depth" else groups.split("+")
    for path, layer in _convolutions(module).items():
        alive = layer.weight.detach() != 0
        name = f"{path}.weight"
        mask = torch.ones_like(alive)
        for kind in kinds:
            mask &= alive.any(GROUPS[kind], keepdim=True)
        masks[name] = masks.get(name, torch.ones_like(mask)) & mask
    if "filters" in kinds:
        for member, dead in _dead_outputs(module, channel_groups(net)):
            for end in ("bias", "weight"):
                name = f"{member}.{end}"
                if name in net.state and (end == "bias" or net.state[name].dim() == 1):
                    masks[name] = masks.get(name, torch.ones_like(net.state[name], dtype=torch.bool)) & ~dead
    for block in residual_blocks(module) if groups == "depth" else []:
        if _is_dead(module.get_submodule(block)):
            for name, parameter in module.get_submodule(block).named_parameters(prefix=block):
                masks[name] = torch.zeros_like(parameter, dtype=torch.bool)
    return net.replace(masks=masks)


def remove(net: Net, groups: str, *, round_to: int = 1) -> Net:
    """``net`` without its zero groups, smaller and dense; the same function as before, and no masks."""
    module = net.module(formats=False)
    edits: list[dict[str, Any]] = []
    if groups == "depth":
        dead = [block for block in residual_blocks(module) if _is_dead(module.get_submodule(block))]
        edits += [{"edit": "bypass_block", "block": block} for block in dead]
    elif groups == "shapes":
        for path, layer in _convolutions(module).items():
            used = layer.weight.detach().flatten(1).any(0)
            if not used.all() and used.any():
                edits.append({"edit": "lower_columns", "layer": path, "columns": used.nonzero()[:, 0].tolist()})
    else:
        found = channel_groups(net)
        kept = {group.name: rounded(alive(module, group), round_to) for group in found}
        kept = {group.name: kept[group.name] for group in found if len(kept[group.name]) < group.channels}
        return keep(net, kept, found).replace(masks={})
    if not edits:
        return net.replace(masks={})
    replay(module, tuple(edits))
    return net.replace(edits=(*net.edits, *edits), masks={}).with_state(module)


def alive(module: nn.Module, group: Group) -> Tensor:
    """Which channels, (channels,), anything makes and anything reads: some output and some input is not zero."""
    layers = dict(module.named_modules())
    made, read = (torch.zeros(group.channels, dtype=torch.bool) for _ in range(2))
    for member in group.members:
        layer = layers[member.layer]
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            values = layer.weight.detach().abs() + layer.bias.detach().abs()
            behind = torch.zeros(group.channels).index_add_(
                0, torch.tensor(member.channels), values[list(member.places)]
            )
            made |= behind > 0  # a filter of zeros still makes the offset of its batch norm
            continue
        weight = layer.weight.detach().abs()
        axis = 0 if member.axis == "outputs" else 1
        values = weight.sum([a for a in range(weight.dim()) if a != axis])
        if member.axis == "outputs" and layer.bias is not None:
            values = values + layer.bias.detach().abs()
        target = made if member.axis == "outputs" else read
        sums = torch.zeros(group.channels).index_add_(0, torch.tensor(member.channels), values[list(member.places)])
        target |= sums > 0
    return made & read


def rounded(alive: Tensor, round_to: int) -> list[int]:
    """The channels that are alive, with as many dead ones as make a multiple of ``round_to``; one at least.

    >>> rounded(torch.tensor([False, True, False, False, True]), 4)
    [0, 1, 2, 4]
    """
    wanted = max(1, int(alive.sum()))
    wanted = min(-(-wanted // round_to) * round_to, len(alive))
    order = torch.argsort(alive.to(torch.int8), descending=True, stable=True)
    return sorted(order[:wanted].tolist())


def residual_blocks(module: nn.Module) -> list[str]:
    """Paths of the blocks that can be bypassed."""
    return [path for path, layer in module.named_modules() if hasattr(layer, "bypassed")]


def _is_dead(block: nn.Module) -> bool:
    """Whether all convolutions of a residual block are zero."""
    return not any(layer.weight.detach().any() for layer in _convolutions(block).values())


def _dead_outputs(module: nn.Module, groups: Sequence[Group]) -> Iterator[tuple[str, Tensor]]:
    """Layers that make a channel all of whose filters are zero, with a mask over their outputs."""
    layers: Mapping[str, nn.Module] = dict(module.named_modules())
    for group in groups:
        made = torch.zeros(group.channels, dtype=torch.bool)
        for member in group.members:
            layer = layers[member.layer]
            if member.axis == "outputs" and isinstance(layer, nn.Conv2d | nn.Linear):
                filters = layer.weight.detach().flatten(1).any(1)[list(member.places)]
                made[torch.tensor(member.channels)[filters]] = True
        for member in group.members:
            layer = layers[member.layer]
            if member.axis == "outputs" and not isinstance(layer, nn.Linear):
                dead = torch.zeros(len(layer.weight), dtype=torch.bool)  # type: ignore[arg-type]
                dead[list(member.places)] = ~made[torch.tensor(member.channels)]
                yield member.layer, dead


def _convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {path: layer for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
