"""What an ONNX graph executes: recorded from a real run, operator by operator, without any framework behind it.

Every tensor between operators is made an output, so shapes and zeros are those of real inputs, whatever axes the file
leaves open. Multiply-accumulates are counted as :mod:`joulemark.workloads.recording` counts those of a torch module.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from joulemark.backends.backend import Images
from joulemark.subjects.onnx_file import FAILURES
from joulemark.workloads.pairs import convolution_pairs, product_pairs
from joulemark.workloads.workload import Operation, Workload

Array = NDArray[Any]

FREE = frozenset(
    """Constant ConstantOfShape Identity Reshape Flatten Squeeze Unsqueeze Transpose Shape Gather GatherND Slice Split
    Concat Cast CastLike Expand Tile Dropout QuantizeLinear DequantizeLinear Range Size""".split()  # noqa: SIM905
)
"""Views and bookkeeping. Quantisation is fused into its neighbours wherever integers are real."""

ELEMENTWISE = frozenset(
    """Relu LeakyRelu PRelu Elu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softmax LogSoftmax Clip Add Sub Mul Div
    Pow Sqrt Exp Log Neg Abs Erf Gelu Max Min Sum Mean Where BatchNormalization InstanceNormalization LayerNormalization
    GroupNormalization LRN MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool ReduceMean ReduceSum ReduceMax
    ReduceMin ReduceL2 Pad Resize Upsample ArgMax TopK Equal Greater Less GreaterOrEqual LessOrEqual Not And Or Floor
    Ceil Round Sign Reciprocal Mish Swish""".split()  # noqa: SIM905
)


@dataclasses.dataclass
class _Tally:
    """Running sums of one node."""

    first: dict[str, Any]
    rows: int = 0
    calls: int = 0
    macs: int = 0
    elements: int = 0
    nonzero: int = 0
    joint: float = 0.0
    inside: float = 0.0


def record_graph(graph: bytes, images: Images, *, batch_size: int = 1) -> Workload:
    """Run ``images`` in the layout of the graph through it, in batches, and return what was executed.

    Loops and branches are not looked into: they and operators that no rule describes come back as unknown, with their
    share of all output elements. Raises ``ValueError`` if the graph does not run.
    """
    model = onnx.load_from_string(graph)
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    wanted = [name for node in model.graph.node for name in node.output if name]
    given = {one.name for one in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in given)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    tallies: dict[tuple[str, str], _Tally] = {}
    unknown: dict[str, int] = defaultdict(int)
    produced = 0
    try:
        opened = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        source = opened.get_inputs()[0].name
        for start in range(0, len(images), batch_size):
            batch = np.ascontiguousarray(images[start : start + batch_size])
            values = {**constants, source: batch, **dict(zip(wanted, opened.run(wanted, {source: batch}), strict=True))}
            for node in model.graph.node:
                if node.op_type not in FREE:
                    produced += np.size(values[node.output[0]])
                    if not _book(node, values, model, tallies, len(batch)):
                        unknown[node.op_type] += np.size(values[node.output[0]])
    except FAILURES as error:
        raise ValueError(f"the graph does not run on these inputs: {error}") from error
    return Workload(
        inputs=len(images),
        batch_size=batch_size,
        operations=tuple(_operation(key, tally) for key, tally in tallies.items()),
        unknown={name: count / produced for name, count in sorted(unknown.items())},
    )


def _book(
    node: Any, values: Mapping[str, Array], model: Any, tallies: dict[tuple[str, str], _Tally], rows: int
) -> bool:
    """Add one run of a node to its tally; ``False`` if no rule describes it."""
    known = [values[name] for name in node.input if name in values]
    output = values[node.output[0]]
    if not known:
        return node.op_type in ELEMENTWISE
    kind = node.op_type
    shape: dict[str, Any] = {}
    macs, joint, inside, operator = (
        0,
        0.0,
        0.0,
        "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_"),
    )
    if kind in ("Conv", "ConvTranspose"):
        operator, shape, macs, joint, inside = _convolution(node, known, output)
    elif kind in ("Gemm", "MatMul"):
        operator, shape, macs, joint, inside = _product(node, known, output, values)
    elif kind not in ELEMENTWISE:
        return False
    if macs:
        shape |= _bits(node, model)
    first = {"input_shape": _row(known[0], rows), "output_shape": _row(output, rows), **shape}
    tally = tallies.setdefault((node.name or node.output[0], operator), _Tally(first))
    tally.rows += rows
    tally.calls += 1
    tally.macs += macs
    tally.elements += known[0].size
    tally.nonzero += int(np.count_nonzero(known[0]))
    tally.joint += joint
    tally.inside += inside
    return True


def _row(array: Array, rows: int) -> tuple[int, ...]:
    """Shape of one row; of a tensor without the batch axis, the whole."""
    return array.shape[1:] if array.ndim and array.shape[0] == rows else array.shape


def _convolution(node: Any, known: list[Array], output: Array) -> tuple[str, dict[str, Any], int, float, float]:
    x, weight = known[:2]
    axes = weight.ndim - 2
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    stride = tuple(given.get("strides", (1,) * axes))
    dilation = tuple(given.get("dilations", (1,) * axes))
    groups = int(given.get("group", 1))
    shape = {
        "weight_shape": weight.shape, "stride": stride, "dilation": dilation, "groups": groups,
        "weight_density": float(np.count_nonzero(weight) / weight.size),
    }  # fmt: skip
    if node.op_type == "ConvTranspose":
        macs = x.size * prod(weight.shape[1:])
        return "conv_transpose", shape, macs, 0.0, 0.0
    before, after = _padding(given, x, weight, output, stride, dilation)
    # A record has one padding an axis: what the far side has more is booked as a larger input.
    more = tuple(far - near for near, far in zip(before, after, strict=True))
    shape |= {
        "padding": before,
        "input_shape": (x.shape[1], *(size + extra for size, extra in zip(x.shape[2:], more, strict=True))),
    }
    inside, joint = convolution_pairs(
        _support(x), _support(weight), output.shape[2:],
        stride=stride, before=before, dilation=dilation, groups=groups,
    )  # fmt: skip
    return "conv", shape, output.size * prod(weight.shape[1:]), joint, inside


def _padding(
    given: Mapping[str, Any], x: Array, weight: Array, output: Array, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after each axis, also where the file only says "same"."""
    axes = weight.ndim - 2
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = tuple(given.get("pads", (0,) * (2 * axes)))
        return pads[:axes], pads[axes:]
    total = [
        max(0, (out - 1) * step + (taps - 1) * spread + 1 - size)
        for out, step, taps, spread, size in zip(
            output.shape[2:], stride, weight.shape[2:], dilation, x.shape[2:], strict=True
        )
    ]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def _product(
    node: Any, known: list[Array], output: Array, values: Mapping[str, Array]
) -> tuple[str, dict[str, Any], int, float, float]:
    x, weight = known[:2]
    if node.op_type == "Gemm":
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        x = x.T if given.get("transA") else x
        weight = weight.T if given.get("transB") else weight
    macs = output.size * x.shape[-1]
    joint = product_pairs(_support(np.atleast_2d(x)), _support(weight[:, None] if weight.ndim == 1 else weight))
    if weight.ndim != 2:
        return "matmul", {}, macs, joint, float(macs)
    density = float(np.count_nonzero(weight) / weight.size)
    return "linear", {"weight_shape": weight.shape[::-1], "weight_density": density}, macs, joint, float(macs)


def _support(array: Array) -> torch.Tensor:
    """Where an array is not zero."""
    return torch.from_numpy(array != 0)


def _bits(node: Any, model: Any) -> dict[str, int]:
    """8 where both operands come out of integers (quantise-dequantise pairs), else the 32 of a float."""
    makers = {name: one.op_type for one in model.graph.node for name in one.output}
    integer = all(makers.get(name) == "DequantizeLinear" for name in node.input[:2])
    return {"weight_bits": 8, "activation_bits": 8} if integer else {}


def _operation(key: tuple[str, str], tally: _Tally) -> Operation:
    layer, operator = key
    return Operation(
        layer=layer,
        operator=operator,
        rows=tally.rows,
        calls=tally.calls,
        macs=tally.macs,
        activation_density=tally.nonzero / max(tally.elements, 1),
        joint_density=tally.joint / tally.inside if tally.inside else 1.0,
        **tally.first,
    )
