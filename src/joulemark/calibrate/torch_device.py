"""Single layers and whole nets in eager PyTorch, float32, on the processor or on a CUDA GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from joulemark.backends.eager import Eager
from joulemark.energy.features import Layer
from joulemark.nets.net import Net, usual_input_shape

LARGEST_KEPT = 32 << 20
"""Bytes up to which glibc's malloc raises, at a first free, the size from which it maps memory anew at every call
(mallopt(3), M_MMAP_THRESHOLD): done once here, so that no layer's time depends on which layers came before."""

OFFSETS, STEP = 1 << 20, 7919
"""Places where the input of a pooling is cut from a longer row of random values; a prime to go from one to the next."""


class TorchDevice:
    """Eager PyTorch on "cpu" or "cuda". Raises ``ValueError`` for a GPU that torch does not see."""

    precision = "fp32"
    free: tuple[str, ...] = ()
    nothing: Layer | None = None

    def __init__(self, threads: int, place: str = "cpu") -> None:
        if place == "cuda" and not torch.cuda.is_available():
            raise ValueError("torch sees no CUDA GPU: calibrate `--backend eager`, or install a torch with CUDA")
        self.place, self.threads = place, threads
        self.name = "eager" if place == "cpu" else place
        self.repeat = 1 if place == "cpu" else 16
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
        torch.zeros(LARGEST_KEPT // 4 - 1024)

    def layer(self, layer: Layer, copies: int) -> TorchLayer:
        """A layer; the copies take turns."""
        functions, inputs = [_called(layer, self.place) for _ in range(copies)], _inputs(layer, self.place)
        return (TorchPool if layer.type == "pool" else TorchLayer)(functions, inputs)

    def net(self, name: str, batch: int) -> TorchLayer | EagerRun:
        """A net of ours: on the processor through the very backend that the benchmark measures."""
        shape = usual_input_shape(name)
        module = Net.new(name, shape or (), seed=0).module()
        x = torch.randn(batch, *(shape or ()), generator=torch.Generator().manual_seed(0))
        if self.place == "cpu":
            return EagerRun(Eager().ready(module, self.threads).run, x)
        return TorchLayer([module.to(self.place)], [x.to(self.place)])

    def running(self) -> AbstractContextManager[object]:
        """No autograd."""
        return torch.inference_mode()

    def sync(self) -> None:
        """Wait for the GPU."""
        if self.place != "cpu":
            torch.cuda.synchronize()


class TorchLayer:
    """Functions of one layer that take turns on the same inputs."""

    def __init__(self, functions: Sequence[Callable[..., Tensor]], inputs: Sequence[Tensor]) -> None:
        self.functions, self.inputs, self.turn = functions, inputs, 0

    def prepare(self) -> None:
        """Write the first input (a second one was written longer ago) and turn to the next copy."""
        self.inputs[0].mul_(1.0)
        self.turn = (self.turn + 1) % len(self.functions)

    def call(self) -> None:
        """Run the layer; its output is freed at once."""
        self.functions[self.turn](*self.inputs)


class TorchPool(TorchLayer):
    """A max pooling on new values at every call, zero or above as behind a ReLU.

    It branches on its values, and a processor that meets the same ones again and again learns the branches of a small
    input by heart: four times faster than in any net, on the machine this was written on.
    """

    def __init__(self, functions: Sequence[Callable[..., Tensor]], inputs: Sequence[Tensor]) -> None:
        super().__init__(functions, inputs)
        self.offset, size = 0, inputs[0].numel() + OFFSETS
        make = torch.Generator().manual_seed(0)
        self.values = torch.randn(size, generator=make).relu_().to(inputs[0].device)

    def prepare(self) -> None:
        """Write the next values."""
        flat = self.inputs[0].view(-1)
        self.offset = (self.offset + STEP) % OFFSETS
        flat.copy_(self.values[self.offset : self.offset + flat.numel()])


class EagerRun:
    """A net behind its backend."""

    def __init__(self, run: Callable[..., object], images: Tensor) -> None:
        self.run, self.images, self.array = run, images, images.numpy()

    def prepare(self) -> None:
        """Write the images."""
        self.images.mul_(1.0)

    def call(self) -> None:
        """One pass."""
        self.run(self.array)


def _inputs(layer: Layer, place: str) -> list[Tensor]:
    """One input, or the two or more that are added or joined."""
    make = torch.Generator().manual_seed(0)
    shapes = [layer.input]
    if layer.type == "add":
        shapes *= 2
    elif layer.type == "cat":  # two halves, as after two branches
        channels, *rest = layer.output
        shapes = [(channels // 2, *rest), (channels - channels // 2, *rest)]
    return [torch.rand(layer.batch, *shape, generator=make).to(place) for shape in shapes]


def _called(layer: Layer, place: str) -> Callable[..., Tensor]:
    """What runs the layer, as it stands in a net: a module where nets have a module."""
    made = _module(layer)
    if made is not None:
        return made.eval().to(place)
    last = (2, 3) if len(layer.input) == 3 else (-1,)
    sides = (layer.output[-2], layer.output[-1]) if len(layer.output) == 3 else (1, 1)
    functions: dict[str, Callable[..., Tensor]] = {
        "add": torch.add,
        "cat": lambda *parts: torch.cat(parts, 1),
        "mean": lambda x: x.mean(last, keepdim=True) if _to_one(layer) else nn.functional.adaptive_avg_pool2d(x, sides),
        "pow": lambda x: x.pow(0.75),
        "pad": lambda x: nn.functional.pad(x, _padding(layer)),
        "avg_pool3d": lambda x: nn.functional.avg_pool3d(x, (layer.input[-3] - layer.output[-3] + 1, 1, 1), stride=1),
    }
    if layer.type not in functions:
        raise ValueError(f"a layer of type {layer.type!r} cannot be run alone")
    return functions[layer.type]


def _to_one(layer: Layer) -> bool:
    """Whether an average leaves one value of each channel."""
    return math.prod(layer.output[1:]) == 1


def _module(layer: Layer) -> nn.Module | None:
    window: dict[str, Any] = {"kernel_size": layer.kernel, "stride": layer.stride, "padding": layer.padding}
    channels = layer.input[0]
    if layer.type == "conv":
        return nn.Conv2d(channels, layer.output[0], groups=layer.groups, dilation=layer.dilation, **window)
    if layer.type == "fc":
        return nn.Linear(channels, layer.output[0])
    if layer.type == "pool":
        return nn.MaxPool2d(ceil_mode=layer.rounded_up, **window)
    if layer.type == "batch_norm":
        return nn.BatchNorm2d(channels) if len(layer.input) == 3 else nn.BatchNorm1d(channels)
    if layer.type == "softmax":
        return nn.Softmax(1)
    return nn.ReLU() if layer.type == "relu" else None


def _padding(layer: Layer) -> list[int]:
    """What is added behind each axis, last axis first, as torch takes it."""
    pairs = [(0, after - before) for before, after in zip(layer.input, layer.output, strict=True)]
    return [side for pair in reversed(pairs) for side in pair]
