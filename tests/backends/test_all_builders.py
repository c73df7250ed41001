"""Every net of ours on every backend: the same logits, and integers where integers are claimed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime, session
from joulemark.backends.onnx_exporter import export
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.techniques.precision.int8 import int8


class Calibration:
    """Hands out images as the workbench does."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def batches(self, split, *, batch_size=64):
        yield self.images, torch.zeros(len(self.images), dtype=torch.int64)


def settled(builder: str, **options) -> Net:
    """A net whose batch norms have seen some images: logits neither vanish nor explode."""
    net = Net.new(builder, (3, 32, 32), seed=0, **options)
    module = net.module().train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over the batches seen
    with torch.no_grad():
        module(images(16))
    return net.with_state(module)


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("builder", ["resnet20", "convnet", "alexnet", "vgg"])
def test_both_backends_agree_at_both_batch_sizes(builder):
    net, x = settled(builder), images(64).numpy()
    runtime, eager = (backend.compile(net, threads=1) for backend in (OnnxRuntime(), Eager()))
    for rows in (1, 64):
        assert np.abs(runtime.run(x[:rows]) - eager.run(x[:rows])).max() < 1e-4


def test_a_residual_net_with_exits_agrees():
    net = settled("resnet", depth=8, width=0.25)
    sizes = {"layer1": 4 * 32 * 32, "layer2": 8 * 16 * 16}
    exits = tuple(
        Exit(after=name, router="exactly-one", threshold=0.4, features=size, classes=10) for name, size in sizes.items()
    )
    heads = {f"exits.{name}.1.weight": torch.randn(10, size) / size**0.5 for name, size in sizes.items()}
    heads |= {f"exits.{name}.1.bias": torch.zeros(10) for name in sizes}
    routed = net.replace(route=Route(kind="exits", exits=exits), state={**net.state, **heads})
    x = images(32).numpy()
    runtime, eager = (backend.compile(routed, threads=1).run(x) for backend in (OnnxRuntime(), Eager()))
    assert np.abs(runtime - eager).max() < 1e-4


@pytest.mark.parametrize(
    ("builder", "options", "convolutions", "linears"),
    [("resnet", {"depth": 14, "width": 0.5}, 13, 1), ("convnet", {}, 3, 1), ("vgg", {"width": 0.5}, 8, 2)],
)
def test_every_product_of_an_int8_net_is_one_of_integers(
    builder, options, convolutions, linears, tmp_path, monkeypatch
):
    net, x = settled(builder, **options), images(64)
    quantised = int8(net, Calibration(x), images=64)

    class Saved(onnxruntime.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            self.optimized_model_filepath = str(tmp_path / "optimised.onnx")

    graph = export(quantised.module(), (torch.zeros(2, 3, 32, 32),))
    monkeypatch.setattr(onnxruntime, "SessionOptions", Saved)
    integers = session(graph, 1)
    nodes = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert nodes.count("QLinearConv") == convolutions
    assert nodes.count("MatMulIntegerToFloat") == linears
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "BatchNormalization"} & set(nodes)
    found = integers.run(None, {integers.get_inputs()[0].name: x.numpy()})[0]
    expected = Eager().compile(net, threads=1).run(x.numpy())
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    assert float((found.argmax(1) == expected.argmax(1)).mean()) > 0.9
