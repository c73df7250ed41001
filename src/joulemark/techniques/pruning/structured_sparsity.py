"""Structured sparsity learning: whole filters, channels, kernel places or blocks go to zero and are then taken out.

Idea:
    A penalty on the length of whole groups of weights, instead of on each weight, drives groups to zero together. What
    is left is a smaller dense net, which any library runs faster.

Equations:
    E(W) = E_data(W) + λ Σ_l Σ_g ‖w⁽ᵍ⁾‖₂   over the groups of every convolution:
    filters W[n, :, :, :];  channels W[:, c, :, :];  shapes W[:, c, m, k];  depth: all weights of a residual block
    subgradient:  w ← w − η (∇E_data + λ w / ‖w⁽ᵍ⁾‖), then |w| < 1e-4 becomes 0
    proximal:     w ← w − η ∇E_data, then w⁽ᵍ⁾ ← w⁽ᵍ⁾ max(0, 1 − η λ / ‖w⁽ᵍ⁾‖);   with momentum m  η / (1 − m)
    behind batch norm (ours):  the lengths are those of  s_n W[n, :, :, :],   s_n = γ_n / √(variance_n + ε)

Claims:
    - 5.1x faster layers on a CPU, 3.1x on a GPU; AlexNet on ImageNet, seconds of the convolutions' products; the dense
      net; 2 % loss of accuracy [seen: slide 19; the abstract names no loss]
    - 1.4x faster layers on a CPU and on a GPU; AlexNet on ImageNet, seconds of the convolutions' products; the dense
      net; no loss of accuracy [seen: slide 19]
    - ResNet of 18 layers at 7.40 % error; CIFAR-10, layers; ResNet-32 at 7.51 %; no loss of accuracy [seen: slides]

Reference:
    W. Wen, C. Wu, Y. Wang, Y. Chen, H. Li, "Learning structured sparsity in deep neural networks", NIPS 2016
    (arXiv 1608.03665).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.axes import INPUTS, OUTPUTS, is_product
from joulemark.nets.dependencies import channel_groups
from joulemark.nets.flow import foldable
from joulemark.nets.layers.lowered import can_be_lowered
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import retrain
from joulemark.techniques.pruning.zero_groups import convolutions, freeze, group_axes, remove, residual_blocks, shapes
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique
from joulemark.training import Step, sgd

THRESHOLD = 1e-4
"""Weights below it count as zero (seen: ZEROUT_THRESHOLD of the authors' code)."""
SPARSIFYING_SHARE = 0.6
"""Share of the epochs with the penalty; then the zeros are frozen. Seen: the authors' M/2 and M/3 of M iterations."""
FIRST_RATE_SHARE = 0.7
"""Share of those at the first learning rate; the rest at a tenth (seen: the authors' README)."""

Penalty = Callable[[nn.Module], Iterator[tuple[list["Folded"], tuple[int, ...]]]]
"""For a module: convolutions that share their groups, and the axes of their weights that a group runs over."""


@technique("structured-sparsity", paper="Wen et al. 2016", family="pruning", knob="strength")
def structured_sparsity(
    net: Net,
    bench: Workbench,
    *,
    strength: Annotated[float, Range(1e-4, 1e-1, log=True)] = 3e-3,
    groups: Literal["filters", "filters+channels", "shapes", "depth"] = "filters+channels",
    update: Literal["subgradient", "proximal"] = "subgradient",
    round_to: Annotated[int, Range(1, 64)] = 1,
    rate: Annotated[float, Range(0.01, 1.0)] = 1.0,
    retraining: Literal["fine-tune", "rewind"] = "fine-tune",
    rewind: Annotated[float, Range(0.01, 1.0)] = 0.9,
) -> Net:
    """Learn structured sparsity with a group lasso, fine-tune with the zeros frozen, and cut them out for real.

    ``strength`` is λ; the paper's values are 1e-3 to 7e-3 (seen: the authors' prototxts). ``rate`` is the share of
    the recipe's learning rate while groups shrink. What shrinks a group is λ times learning rate times steps, and
    what makes up for it is learning rate times steps, too: the authors' LeNet and ResNet-20 have the rate of their
    training (seen: prototxts), which is 1 here, their README advises a tenth for nets that are trained already.
    Measured here, LeNet-5 on MNIST, five epochs, about 30 and 24 % of the MACs left, 5,000 validation images: 99.26 %
    at 1 (λ 6e-3), 98.9 % at 0.1 (λ 3e-2), the dense net 99.32 %. ``retraining`` and ``rewind`` are those of
    ``magnitude``, for the last part.

    ``groups`` "filters+channels" is the paper's breadth; the inputs of the first convolution are no channels of ours.
    "shapes" lowers each convolution to a product over the kernel places that any filter uses, "depth" bypasses residual
    blocks. Only groups that can be cut are penalised: others, as the channels of a padded residual stream, would cost
    accuracy and save nothing.

    Batch norm makes the length of a filter meaningless: it is divided out, so all filters shrink alike, whatever they
    do, and the loss does not resist. What is penalised is therefore the filter as it runs, with its batch norm folded
    in (ours): its gradient goes to the scales and to the directions of the filters, not to their lengths. Without batch
    norm, as in the paper's LeNet and ConvNet, it is the paper's. Where a filter is zero, the scale and offset of its
    batch norm become zero, too. A filter of a depthwise convolution is one of "filters" (ours): where it is zero and
    nothing reads its channel in front of it, the channel goes.

    ``round_to`` keeps a multiple of so many channels (kept channels rounded up), as wide registers like it. Raises
    :class:`TechniqueError` for "depth" without residual blocks and for a net with no groups that can be cut.
    """
    penalty = _penalty(net, groups)
    first = max(1, round(SPARSIFYING_SHARE * bench.epochs)) if bench.epochs else 0
    recipe = bench.task.recipe
    optimiser = sgd(rate * recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    lasso = Lasso(penalty, strength, proximal=update == "proximal")
    if first:
        net = bench.fit(
            net, epochs=first, optimiser=optimiser,
            schedule=lambda progress: 1.0 if progress < FIRST_RATE_SHARE else 0.1,
            after_backward=lasso.after_backward, after_step=lasso.after_step,
        )  # fmt: skip
    frozen = freeze(net, groups)
    if bench.epochs - first:
        frozen = retrain(frozen, bench, bench.epochs - first, retraining=retraining, rewind=rewind)
    small = remove(frozen, groups, round_to=round_to, masks=net.masks)
    bench.note("parameters", {"before": net.parameters(), "after": small.parameters()})
    bench.note("convolutions", shapes(net, small))
    return small


class Folded(NamedTuple):
    """A convolution and the batch norm behind it, if there is one: what runs is ``scale`` x ``weight``."""

    weight: nn.Parameter
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None

    @property
    def scale(self) -> Tensor:
        """What batch norm multiplies each filter by, (filters, 1, ...) with as many axes as the weight."""
        shape = (-1, *[1] * (self.weight.dim() - 1))
        if self.norm is None or self.norm.running_var is None:
            return self.weight.new_ones(len(self.weight)).reshape(shape)
        scale: Tensor = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return scale.reshape(shape)

    def add(self, slope: Tensor) -> None:
        """Add to the weight's gradient; behind batch norm without the part that only changes the length of filters.

        The variance follows that length, so it changes nothing that runs. Left in, it would shrink all filters alike,
        and make the learning rate that they feel grow.
        """
        if self.norm is not None:
            of_filter = group_axes(self.weight, "filters")
            along = (slope * self.weight).sum(of_filter, keepdim=True)
            slope = slope - along / self.weight.square().sum(of_filter, keepdim=True).clamp_min(1e-12) * self.weight
        if self.weight.grad is not None:
            self.weight.grad += slope.detach()

    def shrink(self, left: Tensor) -> None:
        """Multiply what runs by ``left``, which broadcasts over the weight.

        A filter's share goes to its batch norm, which would divide it out of the weight; a filter of zeros stays one.
        """
        if self.norm is not None and left[:1].numel() == 1:
            self.norm.weight.mul_(left.flatten())
            left = (left > 0).to(left.dtype)
        self.weight.mul_(left)


def lengths(members: Sequence[Folded], axes: Sequence[int]) -> Tensor:
    """‖w‖ of the groups that run over ``axes`` and through all ``members``, these axes kept; its subgradient at 0 is 0.

    Its shape multiplies the weights: (filters, 1, ...) for filters, (1, 1, ...) for all members together.
    """
    each = [torch.linalg.vector_norm(one.scale * one.weight, dim=tuple(axes), keepdim=True) for one in members]
    together: Tensor = torch.linalg.vector_norm(torch.stack(each), dim=0)
    return together


class Lasso:
    """The penalty's two updates, as callbacks of a fit."""

    def __init__(self, groups: Penalty, strength: float, *, proximal: bool) -> None:
        self.groups, self.strength, self.proximal = groups, strength, proximal

    def after_backward(self, step: Step) -> None:
        """Add the subgradient of λ Σ ‖w‖ over all groups."""
        if self.proximal:
            return
        with torch.enable_grad():
            found = list(self.groups(step.module))
            total = torch.stack([lengths(members, axes).sum() for members, axes in found]).sum()
        layers = list({id(one.weight): one for members, _ in found for one in members}.values())
        scales = [one.norm.weight for one in layers if one.norm is not None]
        wanted = [one.weight for one in layers] + scales
        slopes = torch.autograd.grad(self.strength * total, wanted)
        for one, slope in zip(layers, slopes, strict=False):
            one.add(slope)
        for scale, slope in zip(scales, slopes[len(layers) :], strict=True):
            if scale.grad is not None:
                scale.grad += slope

    def after_step(self, step: Step) -> None:
        """Zero what is below the threshold, or shrink every group by η λ."""
        with torch.no_grad():
            for members, axes in self.groups(step.module):
                if self.proximal:
                    left = 1.0 - step_length(step.optimiser) * self.strength / lengths(members, axes).clamp_min(1e-12)
                    for one in members:
                        one.shrink(left.clamp_min(0.0))
                    continue
                for one in members:
                    one.weight.masked_fill_((one.scale * one.weight).abs() < THRESHOLD, 0.0)


def step_length(optimiser: torch.optim.Optimizer) -> float:
    """Learning rate of the moment over 1 - momentum: how far a gradient of 1 moves a weight in the end."""
    group = optimiser.param_groups[0]
    return float(group["lr"]) / (1.0 - float(group.get("momentum", 0.0)))


def _penalty(net: Net, groups: str) -> Penalty:
    """What is penalised in a module of this net. :class:`TechniqueError` if the net has none of these groups."""
    module = net.module(formats=False)
    norms = foldable(module, net.input_shape)
    if groups == "depth":
        blocks = [list(convolutions(module.get_submodule(block), block)) for block in residual_blocks(module)]
        if not blocks:
            raise TechniqueError("structured-sparsity: groups=depth needs residual blocks, and this net has none")
        penalised = [(block, "depth") for block in blocks]
    else:
        penalised = [([path], kind) for path, kind in _penalised(net, module, groups)]
        if not penalised:
            raise TechniqueError(f"structured-sparsity: groups={groups}, and this net has none that can be cut")

    def terms(module: nn.Module) -> Iterator[tuple[list[Folded], tuple[int, ...]]]:
        for paths, kind in penalised:
            found: list[Any] = [
                [module.get_submodule(path) for path in (layer, norms.get(layer)) if path] for layer in paths
            ]
            yield [Folded(pair[0].weight, *pair[1:]) for pair in found], group_axes(found[0][0].weight, kind)

    return terms


def _penalised(net: Net, module: nn.Module, groups: str) -> list[tuple[str, str]]:
    """Convolutions and the kinds of groups that are penalised in each: those that can be cut.

    Layers that make some of their channels together with others, as those of a residual stream, are not: such channels
    would have to die in all of them at once. Nor are those whose channels go several at a time, as of a group norm.
    """
    if groups == "shapes":
        return [(path, "shapes") for path, layer in convolutions(module).items() if can_be_lowered(layer)]
    axes = {"filters": OUTPUTS, "channels": INPUTS}
    places = Counter[tuple[str, str]]()
    for group in channel_groups(net):
        if sum(one.axis == OUTPUTS and is_product(module.get_submodule(one.layer)) for one in group.members) == 1:
            alone = [member for member in group.members if len(member.places) == group.channels]
            places.update({(member.layer, member.axis): len(member.places) for member in alone})
    return [
        (path, kind)
        for path, layer in convolutions(module).items()
        for kind in groups.split("+")
        if places[path, axes[kind]] == layer.weight.shape[0 if kind == "filters" else 1]
    ]
