"""Single layers and whole nets in ONNX Runtime, float32, on the processor.

A layer is a graph of one node, so whatever the runtime fuses in a net is not fused here, and a convolution in the
runtime's blocked layout pays for both conversions: sums of layers come out above the net, and the judgement prints by
how much. Batch norm is folded into the convolution before it and a ReLU fused with it; such layers count as free.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from joulemark.backends.onnx import OnnxRuntime, session
from joulemark.backends.onnx_exporter import OPSET
from joulemark.energy.features import Layer
from joulemark.nets.net import Net, usual_input_shape


class OnnxDevice:
    """ONNX Runtime's CPU provider on ``threads`` threads."""

    name = "onnxruntime"
    precision = "fp32"
    free: tuple[str, ...] = ("batch_norm", "relu")
    nothing: Layer | None = Layer(type="identity", batch=1, input=(1,), output=(1,))
    repeat = 1

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def layer(self, layer: Layer, copies: int) -> OnnxLayer:
        """A layer; the copies take turns."""
        return OnnxLayer([session(_graph(layer, seed), self.threads) for seed in range(copies)], layer)

    def net(self, name: str, batch: int) -> OnnxRun:
        """A net of ours, through the very backend that the benchmark measures."""
        shape = usual_input_shape(name) or ()
        compiled = OnnxRuntime().compile(Net.new(name, shape, seed=0), threads=self.threads)
        images = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
        return OnnxRun(compiled, images)

    def running(self) -> AbstractContextManager[object]:
        """Nothing is needed."""
        return nullcontext()

    def sync(self) -> None:
        """Nothing is queued."""


class OnnxLayer:
    """Sessions of one layer that take turns; input and output stay where they are in memory."""

    def __init__(self, sessions: list[onnxruntime.InferenceSession], layer: Layer) -> None:
        rng = np.random.default_rng(0)
        self.sessions, self.turn = sessions, 0
        self.inputs = [rng.random((layer.batch, *shape), dtype=np.float32) for shape in _input_shapes(layer)]
        output = np.empty((layer.batch, *layer.output), np.float32)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (*self.inputs, output)]
        self.bindings = []
        for one in sessions:
            binding = one.io_binding()
            for slot, value in zip(one.get_inputs(), values[:-1], strict=True):
                binding.bind_ortvalue_input(slot.name, value)
            binding.bind_ortvalue_output(one.get_outputs()[0].name, values[-1])
            self.bindings.append(binding)

    def prepare(self) -> None:
        """Write the first input and turn to the next copy."""
        self.inputs[0] *= np.float32(1.0)
        self.turn = (self.turn + 1) % len(self.sessions)

    def call(self) -> None:
        """Run the graph."""
        self.sessions[self.turn].run_with_iobinding(self.bindings[self.turn])


class OnnxRun:
    """A net behind its backend."""

    def __init__(self, compiled: Any, images: Any) -> None:
        self.compiled, self.images = compiled, images

    def prepare(self) -> None:
        """Write the images."""
        self.images *= np.float32(1.0)

    def call(self) -> None:
        """One pass."""
        self.compiled.run(self.images)


def _input_shapes(layer: Layer) -> list[tuple[int, ...]]:
    if layer.type == "add":
        return [layer.input, layer.input]
    if layer.type == "cat":
        channels, *rest = layer.output
        return [(channels // 2, *rest), (channels - channels // 2, *rest)]
    return [layer.input]


def _graph(layer: Layer, seed: int) -> bytes:
    """The layer as an ONNX model of one node. Raises ``ValueError`` for a type that it does not know."""
    rng = np.random.default_rng(seed)
    names = [f"x{i}" for i in range(len(_input_shapes(layer)))]
    node, weights = _node(layer, names, rng)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (layer.batch, *shape))
        for name, shape in zip(names, _input_shapes(layer), strict=True)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (layer.batch, *layer.output))
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "layer", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())


def _node(layer: Layer, names: list[str], rng: np.random.Generator) -> tuple[onnx.NodeProto, dict[str, Any]]:
    """The node and its weights by name."""
    channels, kind = layer.input[0], layer.type
    if kind == "conv":
        pads = [*layer.padding, *layer.padding]
        shape = (layer.output[0], channels // layer.groups, *layer.kernel)
        weights = {"w": _random(rng, shape), "b": _random(rng, (layer.output[0],))}
        node = helper.make_node(
            "Conv", [*names, *weights], ["y"], kernel_shape=layer.kernel, strides=layer.stride, pads=pads,
            dilations=layer.dilation, group=layer.groups,
        )  # fmt: skip
        return node, weights
    if kind == "fc":
        weights = {"w": _random(rng, (layer.output[0], channels)), "b": _random(rng, layer.output)}
        return helper.make_node("Gemm", [*names, *weights], ["y"], transB=1), weights
    if kind == "pool":
        return helper.make_node(
            "MaxPool", names, ["y"], kernel_shape=layer.kernel, strides=layer.stride,
            pads=[*layer.padding, *layer.padding], ceil_mode=int(layer.rounded_up),
        ), {}  # fmt: skip
    if kind == "batch_norm":
        weights = {name: np.abs(_random(rng, (channels,))) for name in ("scale", "bias", "mean", "var")}
        return helper.make_node("BatchNormalization", [*names, *weights], ["y"]), weights
    return _plain_node(layer, names)


def _plain_node(layer: Layer, names: list[str]) -> tuple[onnx.NodeProto, dict[str, Any]]:
    """A node without weights of its own."""
    kind = layer.type
    simple = {"relu": "Relu", "add": "Add", "identity": "Identity"}
    if kind in simple:
        return helper.make_node(simple[kind], names, ["y"]), {}
    if kind in ("cat", "softmax"):
        return helper.make_node("Concat" if kind == "cat" else "Softmax", names, ["y"], axis=1), {}
    if kind == "mean" and np.prod(layer.output[1:]) > 1:  # in places, as AlexNet's before its classifier
        window = [before // after for before, after in zip(layer.input[1:], layer.output[1:], strict=True)]
        return helper.make_node("AveragePool", names, ["y"], kernel_shape=window, strides=window), {}
    if kind == "mean":
        axes = {"axes": np.array([-2, -1] if len(layer.input) == 3 else [-1], np.int64)}
        return helper.make_node("ReduceMean", [*names, *axes], ["y"], keepdims=1), axes
    if kind == "pow":
        exponent = {"e": np.array(0.75, np.float32)}
        return helper.make_node("Pow", [*names, *exponent], ["y"]), exponent
    if kind == "pad":
        ends = [after - before for before, after in zip(layer.input, layer.output, strict=True)]
        pads = {"pads": np.array([0] * (len(ends) + 1) + [0, *ends], np.int64)}
        return helper.make_node("Pad", [*names, *pads], ["y"]), pads
    if kind == "avg_pool3d":
        window = [layer.input[-3] - layer.output[-3] + 1, 1, 1]
        return helper.make_node("AveragePool", names, ["y"], kernel_shape=window, strides=[1, 1, 1]), {}
    raise ValueError(f"a layer of type {kind!r} cannot be run alone in ONNX Runtime")


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.random(shape, dtype=np.float32)
