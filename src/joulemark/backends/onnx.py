"""ONNX Runtime on the CPU: one graph for a static net, one graph per segment for a dynamic one.

Quantised layers become QuantizeLinear-DequantizeLinear pairs that the runtime fuses into int8 kernels; everything else
is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime
import torch
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled, Images, unlisted, variant_name
from joulemark.backends.onnx_exporter import export, lacking
from joulemark.backends.onnx_pairs import around
from joulemark.backends.segment_graphs import SegmentGraphs
from joulemark.nets.net import Net
from joulemark.nets.segments import Segments

OPTIONS = {"spin": "threads wait by spinning, the runtime's own default: quicker hand-over for more CPU-seconds"}


class OnnxRuntime:
    """ONNX Runtime's CPU provider with every thread count fixed and graph optimisation on."""

    options = OPTIONS
    precision = "fp32"
    kernels = frozenset({"int8", "columns", "route"})

    def __init__(self, chosen: Sequence[str] = ()) -> None:
        self.spin = "spin" in chosen
        self.name = variant_name("onnxruntime", chosen)
        self.title = "ONNX Runtime, spinning" if self.spin else "ONNX Runtime"

    def with_options(self, options: Sequence[str]) -> OnnxRuntime:
        """The variant with these options."""
        return OnnxRuntime(options)

    def unavailable(self) -> str | None:
        """ONNX Runtime needs the exporter's packages."""
        return lacking()

    def simulated(self, net: Net) -> str | None:
        """Integers of 8 bits, lowered convolutions and routes are real here; all else is not."""
        return unlisted(net, self)

    def compile(self, net: Net, *, threads: int) -> Compiled:
        """Export and open one session for each graph."""
        module = net.module()
        if isinstance(module, Segments):
            return SegmentGraphs(module, net.input_shape, lambda graph: self.ready(graph, threads).outputs)
        return self.ready(export(module, (torch.zeros(2, *net.input_shape),)), threads)

    def received(self, net: Net, paths: Sequence[str], images: Images) -> dict[str, Images]:
        """What layers of a static net receive: outputs of its graph cut off there, which is optimised anew."""
        from joulemark.backends.onnx_layers import cut_at  # only to tell where a net went wrong

        graphs = cut_at(export(net.module(), (torch.zeros(2, *net.input_shape),)), paths)
        return {path: self.ready(graph, threads=1).run(images) for path, graph in graphs.items()}

    def ready(self, graph: bytes, threads: int) -> OnnxNet:
        """Any graph of one input, ready to run; its first output is what ``run`` returns."""
        return OnnxNet(session(around(graph), threads, spin=self.spin))


class OnnxNet:
    """One graph with its session."""

    def __init__(self, graph: onnxruntime.InferenceSession) -> None:
        self.graph = graph
        self.inputs = [node.name for node in graph.get_inputs()]

    def run(self, images: Images) -> Images:
        """Logits of ``images``."""
        return self.graph.run(None, {self.inputs[0]: images})[0]  # type: ignore[no-any-return]

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits of ``images`` at the one exit there is."""
        return [self.run(images)]

    def outputs(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """All outputs of the graph for all of its inputs."""
        given: Sequence[NDArray[Any]] = self.graph.run(None, dict(zip(self.inputs, inputs, strict=True)))
        return given


def session(graph: bytes, threads: int, *, spin: bool = False) -> onnxruntime.InferenceSession:
    """A session on ``threads`` threads: operators one after the other, threads asleep between them unless ``spin``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    # Fused with its bias, an integer product would become a float Gemm on weights that are dequantised at every run.
    disabled = ["MatMulAddFusion"] if b"QuantizeLinear" in graph else []
    return onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
    )
