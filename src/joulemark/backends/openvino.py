"""OpenVINO on the CPU: the ONNX graphs that ONNX Runtime gets, in Intel's runtime, which runs on AMD and Arm as well.

Precision, threads and streams are pinned, and read back from the compiled graph: what it would not do as asked is
refused. Pairs of QuantizeLinear and DequantizeLinear become 8-bit kernels; :meth:`OpenVinoNet.executed` tells layer by
layer what really ran in which type. Source of the property names: OpenVINO 2026, "Inference Devices and Modes".
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled, Images, unlisted, variant_name
from joulemark.backends.onnx_exporter import export, lacking
from joulemark.backends.onnx_pairs import once
from joulemark.backends.segment_graphs import SegmentGraphs
from joulemark.nets.net import Net
from joulemark.nets.segments import Segments

OPTIONS = {
    "bf16": "products and activations in bfloat16, wherever OpenVINO has a kernel for it",
    "static": "one graph for each batch size, compiled when that size first comes",
}
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
"""Our word -> OpenVINO's name of the type."""
LACKING = "No conversion rule found for operations"
"""How OpenVINO begins the line that names the operators it lacks."""
CONVERTER = "openvino.tools.ovc"
"""The package's converter of other formats. Importing it imports a module that reports use over the network."""


class Layer(NamedTuple):
    """One node of the graph that OpenVINO really runs."""

    name: str
    kind: str  # "Convolution", "FullyConnected", "Pooling", ...
    precision: str  # that its kernel computes in: "f32", "bf16", "u8", "i8"
    kernel: str  # "brgconv_avx512_I8"
    stands_for: tuple[str, ...]  # nodes of the graph that it was given


class OpenVino:
    """OpenVINO's CPU plugin with one stream, its threads fixed and not bound to cores."""

    options = OPTIONS
    kernels = frozenset({"int8", "columns", "route"})

    def __init__(self, chosen: Sequence[str] = ()) -> None:
        self.static = "static" in chosen
        self.precision = "bf16" if "bf16" in chosen else "fp32"
        self.name = variant_name("openvino", chosen)
        words = ("OpenVINO", *(["bf16"] if "bf16" in chosen else []), *(["static shapes"] if self.static else []))
        self.title = ", ".join(words)

    def with_options(self, options: Sequence[str]) -> OpenVino:
        """The variant with these options."""
        return OpenVino(options)

    def unavailable(self) -> str | None:
        """OpenVINO has wheels for Linux on x86-64 and Arm, macOS on Apple silicon, and Windows on x86-64."""
        if find_spec("openvino") is None:
            return (
                "install openvino, where it has a wheel: Linux (x86-64, Arm), macOS (Apple silicon), Windows (x86-64)"
            )
        return lacking()

    def simulated(self, net: Net) -> str | None:
        """Integers of 8 bits, lowered convolutions and routes are real here; all else is not."""
        return unlisted(net, self)

    def compile(self, net: Net, *, threads: int) -> Compiled:
        """Export and compile one graph, or one for each segment of a dynamic net."""
        module = net.module()
        if isinstance(module, Segments):
            if self.static:
                raise ValueError("static shapes cannot follow rows that leave: this net is dynamic")
            return SegmentGraphs(module, net.input_shape, lambda graph: self.ready(graph, threads).outputs)
        return self.ready(export(module, (torch.zeros(2, *net.input_shape),)), threads)

    def received(self, net: Net, paths: Sequence[str], images: Images) -> dict[str, Images]:
        """What layers of a static net receive: outputs of its graph cut off there, which is optimised anew."""
        from joulemark.backends.onnx_layers import cut_at  # only to tell where a net went wrong

        graphs = cut_at(export(net.module(), (torch.zeros(2, *net.input_shape),)), paths)
        return {path: self.ready(graph, threads=1).run(images) for path, graph in graphs.items()}

    def ready(self, graph: bytes, threads: int) -> OpenVinoNet:
        """Any ONNX graph, ready to run; ``run`` gives its first output for its one input.

        Raises ``ValueError`` for one with an operator that OpenVINO lacks, and for threads that it does not have.
        """
        model = _read(once(graph))
        # An input that nothing reads is in the graph, and not among the model's.
        names = [one.name for one in onnx.load_from_string(graph).graph.input]
        places = [names.index(one.get_node().get_friendly_name()) for one in model.inputs]
        return OpenVinoNet(model, places, threads, precision=self.precision, static=self.static)


class OpenVinoNet:
    """An OpenVINO model: compiled once for any batch or, static, once for each batch size.

    ``places`` says which of what :meth:`outputs` is given goes into each of the model's inputs.
    """

    def __init__(self, model: Any, places: Sequence[int], threads: int, *, precision: str, static: bool) -> None:
        self.model, self.places = model, places
        self.threads, self.precision, self.static = threads, precision, static
        self.compiled: dict[int | None, Any] = {}  # batch size, or None for any -> what runs it
        self.requests: dict[int | None, Any] = {}
        if not static:
            self._request(None)

    def run(self, images: Images) -> Images:
        """Logits of ``images``. ``ValueError`` for a batch that a graph of one size does not have."""
        return self.outputs([images])[0]

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits of ``images`` at the one exit there is."""
        return [self.run(images)]

    def outputs(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs of the graph for all of its inputs."""
        rows = len(inputs[0])
        if not rows:  # the runtime answers no rows with one
            return [output[:0] for output in self.outputs([np.zeros((1, *one.shape[1:]), one.dtype) for one in inputs])]
        request = self._request(rows if self.static else None)
        held = [
            np.require(one, requirements=["C", "W"]) for one in inputs
        ]  # read where they lie: copied only if they must be
        try:
            for number, place in enumerate(self.places):
                request.set_input_tensor(number, runtime().Tensor(held[place], shared_memory=True))
            request.infer()
        except RuntimeError as error:
            raise ValueError(f"OpenVINO cannot run this batch of {rows}: {_sentence(error)}") from error
        return [request.get_output_tensor(number).data.copy() for number in range(len(self.model.outputs))]

    def executed(self, rows: int = 1) -> list[Layer]:
        """The nodes that OpenVINO really runs, in order, with the type of each; constants are left out.

        ``rows`` matters with static shapes alone. Fused nodes are one, with the names of all that it stands for.
        """
        key = rows if self.static else None
        self._request(key)
        found = []
        for node in self.compiled[key].get_runtime_model().get_ordered_ops():
            notes = node.get_rt_info()
            kind, precision, kernel, names = (
                str(notes[name].value)
                for name in ("layerType", "runtimePrecision", "primitiveType", "originalLayersNames")
            )
            if kind not in ("Const", "Input", "Output"):
                found.append(
                    Layer(node.get_friendly_name(), kind, precision, kernel, tuple(filter(None, names.split(","))))
                )
        return found

    def _request(self, rows: int | None) -> Any:
        """What runs a batch of ``rows``, or of any size."""
        if rows not in self.requests:
            model = self.model if rows is None else _reshaped(self.model, rows)
            self.compiled[rows] = _compiled(model, self.threads, self.precision)
            self.requests[rows] = self.compiled[rows].create_infer_request()
        return self.requests[rows]


@functools.cache
def runtime() -> Any:
    """The package without its converter, hence without telemetry. Raises ``ImportError`` where it is not installed."""
    if "openvino" not in sys.modules:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]  # importing it fails now, which the package allows
    import openvino

    if sys.modules.get(CONVERTER, ...) is None:
        del sys.modules[CONVERTER]  # whoever wants the converter later gets it
    return openvino


@functools.cache
def _core() -> Any:
    return runtime().Core()


def _read(graph: bytes) -> Any:
    """The graph as OpenVINO's own. ``ValueError`` for one that it cannot read."""
    try:
        return _core().read_model(graph)
    except RuntimeError as error:
        raise ValueError(f"OpenVINO cannot read this net: {_sentence(error)}") from error


def _reshaped(model: Any, rows: int) -> Any:
    """A copy of a graph for batches of one size. ``ValueError`` if the graph has another size."""
    copy = model.clone()
    shapes = {}
    for given in copy.inputs:
        shape = given.partial_shape
        if not shape[0].is_dynamic and shape[0].get_length() != rows:
            raise ValueError(f"this graph takes batches of {shape[0].get_length()}, not of {rows}")
        shape[0] = rows
        shapes[given] = shape
    copy.reshape(shapes)
    return copy


def _compiled(model: Any, threads: int, precision: str) -> Any:
    """The graph compiled for the CPU. ``ValueError`` if it cannot be, or would not run as asked."""
    asked = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two runtimes in one process would be bound to the same cores
    }
    # Without hyper-threading it may take fewer threads than it is asked for; where there is none it says False.
    try:
        compiled = _core().compile_model(model, "CPU", asked | {"ENABLE_HYPER_THREADING": True})
    except RuntimeError as error:
        raise ValueError(f"OpenVINO cannot compile this net: {_sentence(error)}") from error
    for name, value in asked.items():
        given = compiled.get_property(name)
        given = given.get_type_name() if name == "INFERENCE_PRECISION_HINT" else given
        if given != value:
            raise ValueError(f"OpenVINO was asked for {name} = {value} and would run with {given}")
    return compiled


def _sentence(error: RuntimeError) -> str:
    """What one of OpenVINO's errors says, in one line: the operators that it lacks, else its last words."""
    lines = [line.strip(" -.") for line in str(error).splitlines() if line.strip(" -.")]
    return next((line for line in lines if line.startswith(LACKING)), lines[-1])
