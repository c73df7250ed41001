"""Optimal brain damage: delete the weights whose second derivative says that the loss will hardly notice.

Idea:
    At a minimum of the error the curvature along a weight tells what deleting it costs, and one backward pass gives the
    curvature along all of them. Delete the least salient weights, retrain with them frozen at zero, repeat.

Equations:
    δE ≈ ½ Σ h_kk δu_k²;   saliency of deleting u_k:  s_k = h_kk u_k² / 2
    h_kk = Σ (∂²E/∂a_i²) x_j² over all uses of the parameter,   ∂²E/∂x_j² = Σ w_ij² ∂²E/∂a_i²
    ∂²E/∂a_i² = f'(a_i)² ∂²E/∂x_i² (f'' dropped, so h ≥ 0);   at the logits (soft-max cross-entropy)  p (1 − p)
    with weight decay ω (ours):  at the minimum of E + ω Σ u_k² / 2  ∂E/∂u_k = −ω u_k;   s_k = (h_kk / 2 + ω) u_k²
    share kept after round r of R:  (1 − sparsity)^(r / R)
    of a channel (ours):  Σ s_k over all weights and biases that go when the channel is cut

Claims:
    - 800 of 2,578 parameters (30 %) deleted with the error that was predicted; net for handwritten digits, parameters,
      without retraining; the trained net; squared error as predicted [seen: section 2.3]
    - 1,500 of 2,578 parameters (60 %) deleted; the same net, parameters, with retraining; the net before; error in
      training and test almost the same [seen: section 2.3]

Reference:
    Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 1989.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from joulemark.nets.builders.lenet1989 import Squash
from joulemark.nets.dependencies import channel_groups, keep
from joulemark.nets.flow import BATCH_NORMS
from joulemark.nets.groups import channel_sums, strongest
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import layer_weights, retrain, spread
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique

Batches = Iterable[tuple[Tensor, Tensor]]


@technique("optimal-brain-damage", paper="LeCun, Denker, Solla 1989", family="pruning", knob="sparsity")
def optimal_brain_damage(
    net: Net,
    bench: Workbench,
    *,
    sparsity: Annotated[float, Range(0.3, 0.99)] = 0.92,
    rounds: Annotated[int, Range(1, 50)] = 2,
    images: Annotated[int, Range(16, 10_000_000)] = 4000,
    structure: Literal["weights", "channels"] = "weights",
    gradient: Literal["zero", "decay"] = "zero",
    retraining: Literal["fine-tune", "rewind"] = "fine-tune",
    rewind: Annotated[float, Range(0.01, 1.0)] = 0.9,
) -> Net:
    """Delete the share ``sparsity`` of the weights in ``rounds``, retraining after each.

    Weights of convolutions and linear layers are candidates, all layers ranked together; biases and batch-norm
    parameters are not (the paper ranks biases too). Batch norm is the constant scale that it is in evaluation mode, as
    the derivation needs it; folding it into the weights first changes no saliency. The share kept falls geometrically
    over the rounds; when the epochs do not divide evenly the last rounds get one more. Curvature is taken on the first
    ``images`` training images of an epoch. ``retraining`` and ``rewind`` are those of ``magnitude``. Few epochs want
    few rounds: LeNet-5 on MNIST, five epochs by rewinding, 92 % deleted, validation accuracy 99.18 % with four rounds,
    99.28 % with two, 99.24 % with one, the dense net 99.32 % (one seed, 5,000 images). Notes hold, for each round, the
    increase of the loss that the saliencies predicted and the one that deletion really caused. The two agree while
    little is deleted; see :func:`prune` for when they part.

    The paper drops the gradient, ``gradient`` "zero", because the net is at a minimum. One that was trained with weight
    decay is not at a minimum of its error, but of error and decay together, and there the gradient is known: minus the
    decay times the weight. "decay" (ours) adds the term that deleting a weight costs by it. Measured here, LeNet-5 on
    MNIST, weight decay 5e-4, 90 % of the weights deleted at once, not retrained, 5,000 training images: cross-entropy
    rises by 0.0368 where 0.0438 is predicted; with "zero" by 0.0418 where 0.0007 is; by magnitude by 0.0394. There the
    new term is most of the saliency, and 97 to 99 % of what is kept is what magnitude keeps. A batch norm behind a
    layer makes the length of its weights meaningless and that minimum with it: with one in the net "decay" raises
    :class:`TechniqueError`.

    ``structure`` "channels" is our variant, not the paper's: ``sparsity`` is then the share of the channels, which are
    ranked by the sum of their saliencies (:func:`prune_channels`) and cut for real, so that the net is small and dense.
    """
    epochs = spread(bench.epochs, rounds)
    decay = bench.task.recipe.weight_decay if gradient == "decay" else 0.0
    channels = sum(group.channels for group in channel_groups(net)) if structure == "channels" else 0
    report = []
    for done in range(rounds):

        def sample() -> Batches:  # drawn anew for each use, so that every pass is booked
            return _first(bench.batches("train", batch_size=250), images)

        share = (1.0 - sparsity) ** ((done + 1) / rounds)
        if structure == "channels":
            pruned, predicted = prune_channels(net, sample(), round(share * channels), decay)
        else:
            pruned, predicted = prune(net, sample(), share, decay)
        increase = loss_of(pruned, sample()) - loss_of(net, sample())
        kept = weights_kept(pruned)
        report.append({"weights_kept": kept, "predicted_increase": predicted, "actual_increase": increase})
        net = retrain(pruned, bench, epochs[done], retraining=retraining, rewind=rewind) if epochs[done] else pruned
    bench.note("rounds", report)
    return net


def prune(net: Net, sample: Batches, keep: float, weight_decay: float = 0.0) -> tuple[Net, float]:
    """Mask all but the share ``keep`` of the weights with the greatest saliency.

    Returns the masked net and the increase of the loss that the deleted saliencies predict (their sum). Weights that
    are masked already stay so.

    The prediction is the quadratic term of the paper's expansion, near a minimum, and the linear one that
    ``weight_decay`` leaves there. It falls short of the real increase where deletion goes far: on a net that fits its
    images, p (1 - p) is almost nothing at the start and grows as logits leave saturation, which only higher orders see.
    """
    found = decayed(net, sample, weight_decay)
    saliency = {name: s for name, s in found.items() if name.rpartition(".")[2] == "weight"}
    alive = {name: net.masks.get(name, torch.ones_like(s, dtype=torch.bool)) for name, s in saliency.items()}
    scores = torch.cat([torch.where(alive[name], s, -1.0).flatten() for name, s in saliency.items()])
    count = max(1, round(keep * scores.numel()))
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[scores.topk(count).indices] = True
    masks, start = {}, 0
    for name, s in saliency.items():
        masks[name] = kept[start : start + s.numel()].view_as(s) & alive[name]
        start += s.numel()
    deleted = sum(float(s[alive[name] & ~masks[name]].double().sum()) for name, s in saliency.items())
    return net.replace(masks={**net.masks, **masks}), deleted


def prune_channels(net: Net, sample: Batches, count: int, weight_decay: float = 0.0) -> tuple[Net, float]:
    """Cut all but the ``count`` channels with the greatest saliency, one of each group at least. Ours, not the paper's.

    The saliency of a channel is the sum over all that goes with it: the filters and biases that make it and the weights
    that read it. Returns the smaller net and the sum of the saliencies of the channels cut, the increase of the loss
    that they predict: an estimate on the high side, because either deleting what makes a channel or deleting what reads
    it would do, and a weight between two channels cut counts for both. Raises :class:`TechniqueError` if nothing can
    be cut.
    """
    groups = channel_groups(net)
    if not groups:
        raise TechniqueError("optimal-brain-damage: structure=channels, and this net has no channels that can be cut")
    saliency = decayed(net, sample, weight_decay)
    scores = {group.name: channel_sums(group, saliency) for group in groups}
    kept = strongest(scores, count)
    predicted = sum(float(s.double().sum() - s[kept[name]].double().sum()) for name, s in scores.items())
    return keep(net, kept, groups), predicted


def decayed(net: Net, sample: Batches, weight_decay: float) -> dict[str, Tensor]:
    """Saliencies (h / 2 + weight decay) u^2, by name.

    Raises :class:`TechniqueError` for a decay and a net with batch norm, where it is not what the gradient is.
    """
    module = net.module(formats=False)
    if weight_decay and any(isinstance(layer, BATCH_NORMS) for layer in module.modules()):
        raise TechniqueError("optimal-brain-damage: gradient=decay, and this net has batch norm: take gradient=zero")
    parameters = dict(module.named_parameters())
    found = saliencies(module, sample)
    return {name: s + weight_decay * parameters[name].detach() ** 2 for name, s in found.items()}


def gauss_newton(logits: Tensor) -> Tensor:
    """Second derivative of the soft-max cross-entropy by each logit, of whatever label: p (1 - p)."""
    p = logits.softmax(1)
    return p * (1.0 - p)


def saliencies(
    module: nn.Module, sample: Batches, at_outputs: Callable[[Tensor], Tensor] = gauss_newton
) -> dict[str, Tensor]:
    """The saliencies h u^2 / 2 of the weights and biases of conv and linear layers, by name."""
    parameters = dict(module.named_parameters())
    found = second_derivatives(module, sample, at_outputs)
    return {name: 0.5 * h * parameters[name].detach() ** 2 for name, h in found.items()}


def second_derivatives(
    module: nn.Module, batches: Batches, at_outputs: Callable[[Tensor], Tensor] = gauss_newton
) -> dict[str, Tensor]:
    """Diagonal second derivatives of the mean error with respect to the weights of conv and linear layers.

    One backward pass, in the Levenberg-Marquardt form that drops f'' (LeCun et al. 1989, section 2.1), so h >= 0:

        d2E/dw_ij^2 = sum over uses of (d2E/da_i^2) x_j^2,   d2E/dx_j^2 = sum_i w_ij^2 d2E/da_i^2,
        d2E/da_i^2 = f'(a_i)^2 d2E/dx_i^2,   at the logits (soft-max cross-entropy, Gauss-Newton) p (1 - p).

    ``at_outputs`` gives them at the outputs for another error than cross-entropy: 2 for squared error.

    It is an ordinary backward pass in which every linear map is squared. Batch norm in evaluation mode is a fixed
    scale. Where a value goes two ways (a residual) the two are taken as independent, as the paper takes all units that
    read one x_j. Raises :class:`TechniqueError` for a layer or an operation between layers that has no rule.
    """
    module.eval()
    total: dict[str, Tensor] = {}
    images = 0
    with squared_backward(module) as weights:
        for batch, _ in batches:
            logits = module(batch)
            _refuse_unknown(logits)
            found = torch.autograd.grad(logits, list(weights.values()), grad_outputs=at_outputs(logits.detach()))
            images += len(batch)
            for name, h in zip(weights, found, strict=True):
                total[name] = total.get(name, 0.0) + h
    return {name: h / images for name, h in total.items()}


@contextmanager
def squared_backward(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Inside the block, backward through ``module`` carries second derivatives; yields its weights by name."""
    weights: dict[str, Tensor] = {}
    changed: list[nn.Module] = []
    try:
        for path, layer in module.named_modules():
            if next(layer.children(), None) is not None:
                continue
            kind = type(layer)
            if kind in LINEAR_MAPS and getattr(layer, "padding_mode", "zeros") == "zeros":
                weights |= {f"{path}.{name}": parameter for name, parameter in layer.named_parameters()}
                layer.forward = partial(LINEAR_MAPS[kind], layer)
            elif kind in SLOPES:
                layer.forward = partial(_Slope.apply, partial(SLOPES[kind], layer), kind.forward.__get__(layer))
            elif kind not in PASS_THROUGH:
                raise TechniqueError(f"optimal-brain-damage has no second derivative for {kind.__name__} ({path})")
            changed.append(layer)
        yield weights
    finally:
        for layer in changed:
            layer.__dict__.pop("forward", None)


class _Squared(torch.autograd.Function):
    """y = call(x, w, b), linear in x and in w; backward uses w squared and x squared."""

    @staticmethod
    def forward(ctx: Any, call: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.call, ctx.has_bias = call, bias is not None
        ctx.save_for_backward(x, weight)
        return call(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        with torch.enable_grad():
            point = torch.zeros_like(x, requires_grad=True)
            (to_x,) = torch.autograd.grad(ctx.call(point, weight.detach() ** 2, None), point, h)
            filters = torch.zeros_like(weight, requires_grad=True)
            offset = weight.new_zeros(weight.shape[0], requires_grad=True)
            to_w, to_b = torch.autograd.grad(ctx.call(x.detach() ** 2, filters, offset), (filters, offset), h)
        return None, to_x, to_w, to_b if ctx.has_bias else None


class _Slope(torch.autograd.Function):
    """y = f(x), elementwise or a fixed average; backward multiplies by the slope squared."""

    @staticmethod
    def forward(ctx: Any, slope: Callable[..., Tensor], call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.y = call(ctx.x)
        ctx.slope = slope
        value: Tensor = ctx.y.detach()
        return value

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        return None, None, ctx.slope(ctx.x, ctx.y, h)


def _elementwise(_layer: nn.Module, x: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """f'(x)^2 h for an elementwise f."""
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y))
    return slope**2 * h


def _average(layer: nn.Module, x: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """A mean of n values has weights 1 / n, squared 1 / n^2: the plain gradient of h / n."""
    ones = torch.ones_like(x[:1, :1])
    if isinstance(layer, nn.AvgPool1d | nn.AvgPool2d):
        n = _window_sums(layer, ones) / layer(ones)  # values in a window over its mean
    else:
        sides = [  # where an adaptive window begins and ends: torch's floor(i size / out), ceil((i + 1) size / out)
            torch.tensor([-(-(i + 1) * size // out) - i * size // out for i in range(out)])
            for size, out in zip(x.shape[2:], y.shape[2:], strict=True)
        ]
        n = reduce(lambda before, side: before[..., None] * side, sides)
    (gradient,) = torch.autograd.grad(y, x, h / n)
    return gradient


def _window_sums(layer: nn.AvgPool1d | nn.AvgPool2d, x: Tensor) -> Tensor:
    """Sum of each window of a pooling. PyTorch has it for images only: a signal is one of height 1."""
    flat = isinstance(layer, nn.AvgPool1d)
    sides: Any = (layer.kernel_size, layer.stride, layer.padding)
    kernel, stride, padding = ((fill, *one) for fill, one in zip((1, 1, 0), sides, strict=True)) if flat else sides
    images = x[:, :, None] if flat else x
    sums = nn.functional.avg_pool2d(images, kernel, stride, padding, layer.ceil_mode, divisor_override=1)
    return sums[:, :, 0] if flat else sums


def _convolution(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    return _Squared.apply(layer._conv_forward, x, layer.weight, layer.bias)  # type: ignore[no-any-return]


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return _Squared.apply(nn.functional.linear, x, layer.weight, layer.bias)  # type: ignore[no-any-return]


LINEAR_MAPS: dict[type, Callable[..., Tensor]] = {nn.Conv2d: _convolution, nn.Conv1d: _convolution, nn.Linear: _linear}
SLOPES: dict[type, Callable[..., Tensor]] = {
    nn.Tanh: _elementwise,
    nn.Sigmoid: _elementwise,
    Squash: _elementwise,
    # A batch norm is a fixed scale per channel in evaluation mode, so its slope is that scale.
    **dict.fromkeys(BATCH_NORMS, _elementwise),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), _average),
}
PASS_THROUGH = {nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout}
"""Layers whose derivative is 0 or 1, so that the plain backward pass is already right."""
PASS_THROUGH_STEPS = frozenset(
    """_Squared _Slope AccumulateGrad Relu MaxPool2DWithIndices View UnsafeView Add Cat Squeeze Unsqueeze Permute
    Transpose T Slice Select Split Clone Alias Expand ConstantPadNd""".split()  # noqa: SIM905
)
"""The same for what autograd records between layers, by the names of its nodes."""


def _refuse_unknown(logits: Tensor) -> None:
    """:class:`TechniqueError` if anything between the layers scales or bends values: it would not be squared."""
    waiting, seen = [logits.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().rpartition("::")[2].partition("Backward")[0]
        if name not in PASS_THROUGH_STEPS:
            raise TechniqueError(f"optimal-brain-damage has no second derivative for the step {name!r} between layers")
        waiting += [before for before, _ in node.next_functions]


def weights_kept(net: Net) -> int:
    """Weights of convolutions and linear layers that no mask deletes."""
    masks = net.masks
    return sum(int(masks[name].sum()) if name in masks else w.numel() for name, w in layer_weights(net).items())


def loss_of(net: Net, sample: Batches) -> float:
    """Mean cross-entropy of a net on the sample."""
    module, total, images = net.module(formats=False), 0.0, 0
    with torch.no_grad():
        for batch, labels in sample:
            total += float(nn.functional.cross_entropy(module(batch), labels, reduction="sum"))
            images += len(batch)
    return total / images


def _first(batches: Batches, images: int) -> Iterator[tuple[Tensor, Tensor]]:
    for batch, labels in batches:
        yield batch[:images], labels[:images]
        images -= len(batch)
        if images <= 0:
            return
