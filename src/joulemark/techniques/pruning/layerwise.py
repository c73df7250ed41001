"""Layers of a net one at a time: what goes in, what comes out, and putting rebuilt weights in their place.

Batch norm that alone reads a layer is taken together with it, as if it were folded in, and stays where it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from joulemark.nets.flow import BATCH_NORMS, CONVOLUTIONS, foldable
from joulemark.nets.net import Net
from joulemark.techniques.pruning.reconstruction import Moments, Sums, largest, reconstruct, refit, removed

PLACES = 16
"""Output places of a convolution that are sampled in each image."""
FINER = 4
"""A layer's number of weights may fall by factors of 2^(1 / FINER)."""

See = Callable[[str, int, Tensor, Tensor], None]


@dataclasses.dataclass
class Layer:
    """A convolution or linear layer of a module, with the batch norm that alone reads it; both are changed in place."""

    layer: nn.Conv1d | nn.Conv2d | nn.Linear
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None
    alive: Tensor  # like the weight
    # As they are before anything is changed, because :meth:`put` may be called more than once: the bias, and the
    # statistics of the batch norm; without any, those that do nothing.
    bias: Tensor = dataclasses.field(init=False)
    mean: Tensor = dataclasses.field(init=False)
    variance: Tensor = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Keep bias, mean and variance, (filters,)."""
        filters, norm = len(self.layer.weight), self.norm
        self.bias = torch.zeros(filters) if self.layer.bias is None else self.layer.bias.detach().clone()
        known = norm is not None and norm.running_mean is not None and norm.running_var is not None
        self.mean = norm.running_mean.clone() if known else torch.zeros(filters)  # type: ignore[union-attr]
        self.variance = norm.running_var.clone() if known else torch.ones(filters)  # type: ignore[union-attr]

    @property
    def groups(self) -> int:
        """Groups of a convolution."""
        return int(getattr(self.layer, "groups", 1))

    @property
    def scale(self) -> Tensor:
        """What batch norm multiplied each filter with at first, in size: (groups, filters), of a plain layer 1."""
        return self._scale(self.variance)

    def _scale(self, variance: Tensor) -> Tensor:
        scale = torch.ones(len(self.layer.weight), dtype=torch.float64)
        if self.norm is not None and self.norm.running_var is not None:
            scale = (variance.double() + self.norm.eps).rsqrt()
            if self.norm.affine:
                scale = (scale * self.norm.weight.detach().double().abs()).clamp_min(1e-12)
        return self.grouped(scale)

    @property
    def centred(self) -> bool:
        """Whether the mean of the outputs can be set."""
        return self.norm is not None or self.layer.bias is not None

    def grouped(self, tensor: Tensor) -> Tensor:
        """A tensor (filters, ...) as (groups, filters of a group, all the rest)."""
        found: Tensor = tensor.unflatten(0, (self.groups, -1))
        return found.flatten(2) if found.dim() > 2 else found

    @property
    def weights(self) -> Tensor:
        """Weights as they are behind the batch norm, (groups, filters, inputs)."""
        now = None if self.norm is None else self.norm.running_var
        return (
            self.grouped(self.layer.weight.detach().double())
            * self._scale(self.variance if now is None else now)[:, :, None]
        )

    def moments(self, sums: Sums) -> Moments:
        """Moments of the inputs and of the outputs behind the batch norm, about their means if those can be set."""
        found = sums.moments(centred=self.centred)
        return found._replace(cross=found.cross * self.scale[:, :, None], square=found.square * self.scale**2)

    def curve(self, sums: Sums) -> list[tuple[int, float]]:
        """Numbers of weights that may be kept, most first, with the relative error of the outputs if they are."""
        weights, alive = self.weights, self.grouped(self.alive)
        gram = self.moments(sums).gram
        most, least = int(alive.sum()), min(int(alive.sum()), weights.shape[0] * weights.shape[1])
        steps = range(math.ceil(FINER * math.log2(max(1.0, most / max(1, least)))) + 1)
        counts = sorted({max(least, round(most * 2 ** (-step / FINER))) for step in steps}, reverse=True)
        power = float(((weights @ gram) * weights).sum())
        return [(count, removed(gram, weights, alive, count) / power if power else 0.0) for count in counts]

    def rebuild(self, sums: Sums, count: int) -> Tensor:
        """Keep ``count`` weights, those and their values by ``sums``; returns the mask, like the weight."""
        weights, kept = reconstruct(self.moments(sums), self.weights, self.grouped(self.alive), count)
        self.put(weights, sums)
        return kept.view_as(self.alive)

    def refit(self, sums: Sums, columns: Tensor) -> None:
        """Refit what is left of the weights, by ``sums``, when only the inputs ``columns`` (inputs,) are read."""
        weights = self.weights
        support = columns.expand(weights.shape) & (weights != 0)
        self.put(refit(self.moments(sums), weights, support), sums)

    def cut(self, sums: Sums, count: int) -> Tensor:
        """Keep the ``count`` largest weights as they are; returns the mask, like the weight."""
        alive = self.grouped(self.alive)
        kept = largest(torch.where(alive, self.weights.abs(), -1.0), count) & alive
        self.put(self.weights * kept, sums)
        return kept.view_as(self.alive)

    def put(self, weights: Tensor, sums: Sums) -> None:
        """Write ``weights`` and let the outputs have the mean that they have in ``sums``.

        In front of a batch norm the filters stay as long as what is kept of them was. What runs does not depend on that
        length, but the learning rate that a filter feels falls with its square, and refitted weights are longer.
        """
        weight, norm = self.layer.weight, self.norm
        with torch.no_grad():
            before = weight.detach().double()
            weight.copy_((weights / self.scale[:, :, None]).view_as(weight))
            x, y = sums.means
            made = (self.grouped(weight.double()) @ x[:, :, None])[:, :, 0]
            if norm is None or norm.running_mean is None or norm.running_var is None:
                if self.layer.bias is not None:
                    self.layer.bias.copy_((y - made).flatten())
                return
            # What came in had the mean y, and has ``made`` now, with a bias more: the norm takes away as much more or
            # less than in the net that the means are of.
            longer = (weight.flatten(1).norm(dim=1) / (before * (weight != 0)).flatten(1).norm(dim=1)).nan_to_num(1.0)
            longer = torch.where((longer > 0) & longer.isfinite(), longer, 1.0).to(weight.dtype)
            weight /= longer.reshape(-1, *[1] * (weight.dim() - 1))
            if self.layer.bias is not None:
                self.layer.bias.copy_(self.bias / longer)
            norm.running_mean.copy_((self.mean + (made - y).flatten() + self.bias) / longer)
            norm.running_var.copy_((self.variance + norm.eps) / longer**2 - norm.eps)


def prunable(module: nn.Module, net: Net) -> dict[str, Layer]:
    """The convolutions and linear layers of a module of ``net``, by path, with what its masks leave of them."""
    norms = foldable(module, net.input_shape)
    found = {}
    for path, layer in module.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            mask = net.masks.get(f"{path}.weight", torch.ones_like(layer.weight, dtype=torch.bool))
            norm = module.get_submodule(norms[path]) if path in norms else None
            found[path] = Layer(layer, norm if isinstance(norm, BATCH_NORMS) else None, mask)
    return found


class _SeenError(Exception):
    """Stops a forward pass behind the only layer that is watched."""


def watch(module: nn.Module, layers: Mapping[str, Layer], batches: Iterable[Tensor], seed: int, see: See) -> None:
    """Send ``batches`` through and tell ``see`` of each layer: path, batch, inputs and outputs at sampled places.

    Inputs are (groups, samples, inputs of a filter), outputs (groups, samples, filters). The places follow from seed,
    batch and the layer's sizes alone. Of a layer that runs more than once in a batch, the first run is told. If one
    layer is watched, the pass ends behind it.
    """
    told: set[tuple[str, int]] = set()
    for number, batch in enumerate(batches):

        def tell(path: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, number: int = number) -> None:
            if (path, number) in told:
                return
            told.add((path, number))
            random = torch.Generator().manual_seed(seed * 1_000_003 + number)
            see(path, number, *sampled(layer, inputs[0], output, random))
            if len(layers) == 1:
                raise _SeenError

        handles = [layer.layer.register_forward_hook(partial(tell, path)) for path, layer in layers.items()]
        try:
            with torch.no_grad(), contextlib.suppress(_SeenError):
                module(batch)
        finally:
            for handle in handles:
                handle.remove()


def sampled(layer: nn.Module, x: Tensor, y: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (groups, samples, inputs of a filter) and outputs (groups, samples, filters) of a layer's run.

    Of a convolution, at ``PLACES`` random places of each image, drawn with replacement; of a linear layer, all.
    """
    if not isinstance(layer, CONVOLUTIONS):
        return x.flatten(0, -2)[None], y.flatten(0, -2)[None]
    rows, sides = len(x), y.shape[2:]
    places = min(PLACES, math.prod(sides))
    starts = [torch.randint(0, size, (rows, places), generator=random) for size in sides]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode).movedim(1, -1)
    taps = [
        (start[:, :, None] * stride + torch.arange(size) * dilation).reshape(rows, places, *_along(axis, len(sides)))
        for axis, (start, stride, size, dilation) in enumerate(
            zip(starts, layer.stride, layer.kernel_size, layer.dilation, strict=True)
        )
    ]
    image = torch.arange(rows)[:, None]
    read = padded[image.reshape(rows, 1, *[1] * len(sides)), *taps]  # rows, places, *kernel, channels
    read = read.flatten(0, 1).unflatten(-1, (layer.groups, -1)).movedim((-2, -1), (0, 2)).flatten(2)
    made = y.movedim(1, -1)[image, *starts].flatten(0, 1)
    return read, made.unflatten(-1, (layer.groups, -1)).permute(1, 0, 2)


def _along(axis: int, axes: int) -> list[int]:
    """Sizes that let a vector broadcast along one of some axes."""
    return [-1 if one == axis else 1 for one in range(axes)]
