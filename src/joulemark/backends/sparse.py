"""PyTorch with real sparse products: a masked layer multiplies the weights that are left, and no zeros.

Its filters are the rows of a matrix in compressed sparse rows, times the patches of the image (one column a place of
the output). Products run in MKL through ``torch.addmm``; everything else runs in eager PyTorch, so a net without masks
runs exactly as there. Weights that a mask keeps whole stay dense.

Chosen by measurement, at the 5 x 5 layer of LeNet and the 3 x 3 layers of ResNet-20 with 10 % of the weights (AMD EPYC,
2 cores, 1 thread, PyTorch 2.13; medians of 0.15 s of calls, n = 7 to 4,500). Patches by strided views, one copy, take
34, 45 and 48 µs a layer at batch 1; ``torch.nn.functional.unfold`` 51, 167 and 56. ``torch.addmm`` with the bias,
``torch.mm`` and ``torch.sparse.mm`` differ by under 10 %. At batch 64 a product of two images at a time takes 1.9, 3.0
and 2.7 ms, of one 2.2, 3.3 and 3.2, of eight 1.8, 2.5 and 2.4, of all 2.1, 18 and 3.1; dense takes 2.8, 2.3 and 1.2.
With half of the weights two are faster than eight: 4.3, 12.0 and 6.2 against 5.3, 12.6 and 7.9 ms.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from joulemark.backends.backend import unlisted
from joulemark.backends.eager import Eager, EagerNet
from joulemark.nets.flow import CONVOLUTIONS
from joulemark.nets.net import Net

IMAGES_AT_ONCE = 2
"""Images of one product: their patches stay in the cache."""


class Sparse:
    """PyTorch on the CPU in float32, with masked convolutions and linear layers as sparse products."""

    name, title, precision = "sparse", "PyTorch sparse", "fp32"
    kernels = Eager.kernels | {"zeros"}

    def unavailable(self) -> str | None:
        """Products in compressed sparse rows need a PyTorch that was built with MKL."""
        return None if torch.backends.mkl.is_available() else "this PyTorch has no MKL, which multiplies sparse rows"

    def simulated(self, net: Net) -> str | None:
        """Zeros of plain convolutions and linear layers are really left out; number formats have no kernels here.

        Biases and the vectors of a batch norm are in no product: their zeros are nothing to leave out.
        """
        masks = {name: mask for name, mask in net.all_masks.items() if mask.dim() > 1 and not mask.all()}
        module = net.module(formats=False) if masks else None
        for name in masks:
            path, _, parameter = name.rpartition(".")
            why = _no_kernel(module.get_submodule(path), parameter) if module is not None else None
            if why is not None:
                return f"zeros of {path} are multiplied like any number: {why} (PyTorch sparse)"
        return unlisted(net, self)

    def compile(self, net: Net, *, threads: int) -> EagerNet:
        """The net's module, its masked layers replaced where there is a kernel."""
        module = net.module()
        for name, mask in net.all_masks.items():
            path, _, parameter = name.rpartition(".")
            layer = module.get_submodule(path)
            if not mask.all() and _no_kernel(layer, parameter) is None:
                parent, _, child = path.rpartition(".")
                made = SparseConvolution(layer) if isinstance(layer, CONVOLUTIONS) else SparseLinear(layer)  # type: ignore[arg-type]
                setattr(module.get_submodule(parent), child, made)
        return Eager().ready(module, threads)


class SparseConvolution(nn.Module):
    """A plain convolution as a sparse product. Maps (rows, channels, *sides) to (rows, filters, *sides')."""

    def __init__(self, layer: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.padding = tuple(int(side) for side in layer.padding)
        self.weight, self.bias = sparse_rows(layer.weight), _column(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of ``x``, some images at a time."""
        if any(self.padding):
            x = nn.functional.pad(x, [side for side in reversed(self.padding) for _ in range(2)])
        parts = [self._product(images) for images in x.split(IMAGES_AT_ONCE)]
        return torch.cat(parts) if len(parts) > 1 else parts[0].contiguous()  # a net may flatten by a view

    def _product(self, images: Tensor) -> Tensor:
        windows = images
        for axis, (kernel, stride, dilation) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True), 2):
            windows = windows.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        axes = len(self.kernel)
        rows, _, *sides = windows.shape[: 2 + axes]
        order = 1, *range(2 + axes, 2 + 2 * axes), 0, *range(2, 2 + axes)  # channels, kernel, rows, sides
        patches = windows.permute(order).reshape(self.weight.shape[1], rows * math.prod(sides))
        out = torch.addmm(self.bias, self.weight, patches)
        return out.view(len(out), rows, *sides).transpose(0, 1)


class SparseLinear(nn.Module):
    """A linear layer as a sparse product. Maps (rows, inputs) to (rows, outputs)."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = sparse_rows(layer.weight), _column(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The layer on ``x``, any axes before the last."""
        out = torch.addmm(self.bias, self.weight, x.reshape(-1, x.shape[-1]).t()).t()
        return out.reshape(*x.shape[:-1], out.shape[-1])


def sparse_rows(weight: Tensor) -> Tensor:
    """Weights as a matrix in compressed sparse rows, a filter each: (filters, inputs of one)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        return weight.detach().flatten(1).to_sparse_csr()


def _column(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> Tensor:
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()
    return bias[:, None]


def _no_kernel(layer: nn.Module, parameter: str) -> str | None:
    """Why zeros in this parameter of a layer are not left out here; ``None`` if they are."""
    if type(layer) not in (*CONVOLUTIONS, nn.Linear) or parameter != "weight":
        return f"no sparse kernel for the {parameter} of a {type(layer).__name__}"
    if isinstance(layer, CONVOLUTIONS):
        if layer.groups != 1:
            return "no sparse kernel for a convolution in groups"
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return "no sparse kernel for a convolution whose padding is not zeros in numbers"
    return None
