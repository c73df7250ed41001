"""ONNX Runtime on the CPU: one graph for a static net, one graph per segment for a dynamic one.

Quantised layers become QuantizeLinear-DequantizeLinear pairs that the runtime fuses into int8 kernels; everything else
is float32. Rows that leave are dropped between the graphs, so a dynamic net does less work, not the same work masked.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.backends.backend import Images, unlisted, variant_name
from joulemark.nets.layers.layer import own_translations
from joulemark.nets.net import Net
from joulemark.nets.segments import InnerSegment, Segment, Segments, hand_on, travel

OPSET = 18


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
        missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
        return f"install {' and '.join(missing)}: the exporter needs them" if missing else None

    def simulated(self, net: Net) -> str | None:
        """Integers of 8 bits, lowered convolutions and routes are real here; all else is not."""
        return unlisted(net, self)

    def compile(self, net: Net, *, threads: int) -> OnnxNet | OnnxSegments:
        """Export and open one session for each graph."""
        module = net.module()
        example = torch.zeros(2, *net.input_shape)
        if isinstance(module, Segments):
            return OnnxSegments(module, example, threads, spin=self.spin)
        return self.ready(export(module, (example,)), threads)

    def received(self, net: Net, paths: Sequence[str], images: Images) -> dict[str, Images]:
        """What layers of a static net receive: outputs of its graph cut off there, which is optimised anew."""
        from joulemark.backends.onnx_layers import cut_at  # only to tell where a net went wrong

        graphs = cut_at(export(net.module(), (torch.zeros(2, *net.input_shape),)), paths)
        return {path: self.ready(graph, threads=1).run(images) for path, graph in graphs.items()}

    def ready(self, graph: bytes, threads: int) -> OnnxNet:
        """Any graph of one input, ready to run; its first output is what ``run`` returns."""
        return OnnxNet(session(graph, threads, spin=self.spin))


class OnnxNet:
    """A static net: one session."""

    def __init__(self, graph: onnxruntime.InferenceSession) -> None:
        self.graph = graph
        self.input = graph.get_inputs()[0].name

    def run(self, images: Images) -> Images:
        """Logits of ``images``."""
        return self.graph.run(None, {self.input: images})[0]  # type: ignore[no-any-return]

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits of ``images`` at the one exit there is."""
        return [self.run(images)]


class OnnxSegments:
    """A dynamic net: one session a segment, rows dropped in between."""

    def __init__(self, module: Segments, example: Tensor, threads: int, *, spin: bool = False) -> None:
        carry = {"features": example}
        self.graphs: list[onnxruntime.InferenceSession] = []
        self.reads: list[tuple[str, ...]] = []  # carry entries each graph takes, in the order of its inputs
        self.writes: list[tuple[str, ...]] = []  # carry entries each graph replaces
        segments = module.segments()
        self.hand = hand_on(segments)
        self.answers = [segment.answers for segment in segments]  # whether each graph gives logits
        for number, segment in enumerate(segments, start=1):
            with torch.no_grad():
                after, _, _ = segment(carry)
            reads = tuple(sorted(carry))
            writes = tuple(key for key in sorted(after) if after[key] is not carry.get(key))
            graph = export(_SegmentGraph(segment, reads, writes), tuple(carry[key] for key in reads))
            self.graphs.append(session(graph, threads, spin=spin))
            self.reads.append(reads)
            self.writes.append(writes)
            carry = segment.handed(after, number)
        self.inputs = [[node.name for node in graph.get_inputs()] for graph in self.graphs]

    def run(self, images: Images) -> Images:
        """Logits of the exit each row takes."""
        carry = {"features": images}
        pieces = travel(
            self._step,
            carry,
            rows=len(images),
            take=take_rows,
            join=np.concatenate,
            hand=self.hand,
            segments=len(self.graphs),
        )
        output = np.empty((len(images), pieces[0][1].shape[1]), np.float32)
        for rows, logits in pieces:
            output[rows] = logits
        return output

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits of every exit that has some, all rows going through all graphs."""
        carry: dict[str, Any] = {"features": images}
        exits = []
        for index in range(len(self.graphs)):
            carry, logits, _ = self._step(index, carry)
            carry = self.hand(index, index + 1, carry)
            if logits is not None:
                exits.append(logits)
        return exits

    def _step(self, index: int, carry: dict[str, Any]) -> tuple[dict[str, Any], Any, NDArray[np.int64]]:
        feed = dict(zip(self.inputs[index], (carry[key] for key in self.reads[index]), strict=True))
        onward, *rest = self.graphs[index].run(None, feed)
        logits = rest.pop(0) if self.answers[index] else None
        return {**carry, **dict(zip(self.writes[index], rest, strict=True))}, logits, onward


def take_rows(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The given rows of an array."""
    return array[rows]


class _SegmentGraph(nn.Module):
    """A segment with tensors for arguments, as the exporter wants it."""

    def __init__(self, segment: Segment | InnerSegment, reads: tuple[str, ...], writes: tuple[str, ...]) -> None:
        super().__init__()
        self.segment, self.reads, self.writes = segment, reads, writes

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        carry, logits, onward = self.segment(dict(zip(self.reads, values, strict=True)))
        return onward, *(() if logits is None else (logits,)), *(carry[key] for key in self.writes)


def export(module: nn.Module, example: tuple[Tensor, ...], *, free_rows: bool = True) -> bytes:
    """The module as an ONNX file, with a free batch axis or that of the example. ``ValueError`` if it cannot be."""
    import onnx  # noqa: F401  (the exporter runs both: their versions count, and this is where they are read from)
    import onnxscript  # noqa: F401

    rows = torch.export.Dim("rows")
    shapes: Any = tuple({0: rows} for _ in example) if free_rows else None
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns once for every torchvision operator when torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's exporter copies a deprecated class of its own
            warnings.filterwarnings("ignore", "# The axis name")  # all entries of a carry have the same rows: so we say
            program = torch.onnx.export(
                module.eval(),
                example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(shapes,) if isinstance(module, _SegmentGraph) else shapes,
                custom_translation_table=own_translations(module),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(f"the net cannot be exported to ONNX: {reason}") from error
    finally:
        logger.setLevel(level)
    if program is None:
        raise ValueError("the exporter gave no graph")
    return bytes(program.model_proto.SerializeToString())


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
