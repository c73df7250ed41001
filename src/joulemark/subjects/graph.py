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

from joulemark.backends.backend import Images
from joulemark.subjects.onnx_file import FAILURES, constants_of
from joulemark.subjects.products import (
    FORMS,
    RECURRENT,
    Operands,
    bits,
    einsum_macs,
    given,
    operands,
    recurrent_macs,
    turned,
)
from joulemark.workloads.pairs import convolution_pairs, product_pairs
from joulemark.workloads.workload import Operation, Workload

Array = NDArray[Any]

FREE = frozenset(
    """Constant ConstantOfShape Identity Reshape Flatten Squeeze Unsqueeze Transpose Shape Gather GatherND Slice Split
    Concat Cast CastLike Expand Tile Dropout QuantizeLinear DequantizeLinear DynamicQuantizeLinear Range Size
    NonZero GatherElements ScatterND ScatterElements DepthToSpace SpaceToDepth EyeLike OneHot Trilu ReverseSequence
    QLinearConcat SequenceAt SequenceConstruct SplitToSequence ConcatFromSequence""".split()  # noqa: SIM905
)
"""Views and bookkeeping. Quantisation is fused into its neighbours wherever integers are real."""

ELEMENTWISE = frozenset(
    """Relu LeakyRelu PRelu Elu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softmax LogSoftmax Clip Add Sub Mul
    Div Pow Sqrt Exp Log Neg Abs Erf Gelu Max Min Sum Mean Where BatchNormalization InstanceNormalization
    LayerNormalization GroupNormalization LRN MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool ReduceMean
    ReduceSum ReduceMax ReduceMin ReduceL2 Pad Resize Upsample ArgMax TopK Equal Greater Less GreaterOrEqual
    LessOrEqual Not And Or Floor Ceil Round Sign Reciprocal Mish Swish Celu ThresholdedRelu Softsign Hardmax Shrink
    Sin Cos Tan Atan Mod CumSum ArgMin ReduceProd ReduceL1 ReduceLogSumExp ReduceSumSquare GlobalLpPool
    LpNormalization MeanVarianceNormalization IsNaN IsInf Xor QLinearAdd QLinearMul QLinearAveragePool
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearReduceMean QLinearWhere BiasGelu
    FastGelu QuickGelu SkipLayerNormalization SkipSimplifiedLayerNormalization SimplifiedLayerNormalization
    RMSNormalization BitwiseAnd BitwiseOr BitwiseXor BitwiseNot""".split()  # noqa: SIM905
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
    constants = constants_of(model.graph)
    wanted = [name for node in model.graph.node for name in node.output if name and name not in constants]
    makers = {name: node for node in model.graph.node for name in node.output}
    shown = {one.name for one in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in shown)
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
                    made = np.size(values[_made(node)])
                    produced += made
                    if not _book(node, values, makers, tallies, len(batch)):
                        unknown[node.op_type] += made
    except FAILURES as error:
        raise ValueError(f"the graph does not run on these inputs: {error}") from error
    return Workload(
        inputs=len(images),
        batch_size=batch_size,
        operations=tuple(_operation(key, tally) for key, tally in tallies.items()),
        unknown={name: count / produced for name, count in sorted(unknown.items())},
    )


def _made(node: Any) -> str:
    """Name of the first output that a node gives: a file may leave any of them out."""
    return str(next(name for name in node.output if name))


def _book(
    node: Any,
    values: Mapping[str, Array],
    makers: Mapping[str, Any],
    tallies: dict[tuple[str, str], _Tally],
    rows: int,
) -> bool:
    """Add one run of a node to its tally; ``False`` if no rule describes it."""
    inputs = [values.get(name) for name in node.input]
    known = [array for array in inputs if array is not None]
    output = values[_made(node)]
    kind = node.op_type
    operator = kind.lower() if kind.isupper() else _snake(kind)
    product, both = _Product(), None
    if kind in FORMS:
        both = operands(FORMS[kind], inputs, turned=bool(given(node).get("transB")))
        if both is None:
            return False
        convolves = FORMS[kind].how != "product"
        operator, product = (_convolution if convolves else _product)(node, both, output)
        product.shape |= _bits(node, both, values, makers)
    elif kind in RECURRENT and len(known) >= 3 and inputs[2] is known[2]:
        product.macs = recurrent_macs(known[0], known[1], known[2], inputs[4] if len(inputs) > 4 else None)
        gates, width, hidden = known[1].shape[0] * known[1].shape[1], known[1].shape[2], known[2].shape[2]
        product.shape |= {
            "weight_shape": (gates, width + hidden), "weight_bits": bits(known[1]), "activation_bits": bits(known[0])
        }  # fmt: skip
    elif kind == "Einsum" and len(known) == len(node.input):
        product.macs = einsum_macs(given(node)["equation"].decode(), known)
        product.shape |= {"activation_bits": max(map(bits, known))}
    elif kind not in ELEMENTWISE:
        return False
    if not known:
        return True
    first = {"input_shape": _row(known[0], rows), "output_shape": _row(output, rows), **product.shape}
    tally = tallies.setdefault((node.name or _made(node), operator), _Tally(first))
    tally.rows += rows
    tally.calls += 1
    tally.macs += product.macs
    seen = known[0] if both is None else both.x
    tally.elements += seen.size
    tally.nonzero += int(np.count_nonzero(seen))
    tally.joint += product.joint
    tally.inside += product.inside
    return True


def _snake(name: str) -> str:
    """The name of an operator as torch would write it: "MaxPool" is max_pool."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


@dataclasses.dataclass
class _Product:
    """What one run of a node multiplied."""

    shape: dict[str, Any] = dataclasses.field(default_factory=dict)
    macs: int = 0
    joint: float = 0.0
    inside: float = 0.0


def _row(array: Array, rows: int) -> tuple[int, ...]:
    """Shape of one row; of a tensor without the batch axis, the whole."""
    return array.shape[1:] if array.ndim and array.shape[0] == rows else array.shape


def _convolution(node: Any, both: Operands, output: Array) -> tuple[str, _Product]:
    x, weight = both.x, both.weight
    axes = weight.ndim - 2
    attributes = given(node)
    stride = tuple(attributes.get("strides", (1,) * axes))
    dilation = tuple(attributes.get("dilations", (1,) * axes))
    groups = int(attributes.get("group", 1))
    shape = {
        "weight_shape": weight.shape, "stride": stride, "dilation": dilation, "groups": groups,
        "weight_density": float(np.count_nonzero(weight) / weight.size),
    }  # fmt: skip
    if FORMS[node.op_type].how == "conv_transpose":
        return "conv_transpose", _Product(shape, x.size * prod(weight.shape[1:]))
    before, after = _padding(attributes, x, weight, output, stride, dilation)
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
    return "conv", _Product(shape, output.size * prod(weight.shape[1:]), joint, inside)


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


def _product(node: Any, both: Operands, output: Array) -> tuple[str, _Product]:
    x, weight = turned(both.x, both.weight, given(node))
    macs = output.size * x.shape[-1]
    joint = product_pairs(_support(np.atleast_2d(x)), _support(weight[:, None] if weight.ndim == 1 else weight))
    if weight.ndim != 2:
        return "matmul", _Product({}, macs, joint, float(macs))
    density = float(np.count_nonzero(weight) / weight.size)
    shape = {"weight_shape": weight.shape[::-1], "weight_density": density}
    return "linear", _Product(shape, macs, joint, float(macs))


def _support(array: Array) -> torch.Tensor:
    """Where an array is not zero."""
    return torch.from_numpy(array != 0)


def _bits(node: Any, both: Operands, values: Mapping[str, Array], makers: Mapping[str, Any]) -> dict[str, int]:
    """Those of the integers where both operands come out of some (quantise-dequantise pairs), else of the operands."""
    pairs = [makers.get(name) for name in node.input[:2]]
    if all(one is not None and one.op_type == "DequantizeLinear" for one in pairs):
        activation, weight = (bits(values[one.input[0]]) for one in pairs if one is not None)
        return {"weight_bits": weight, "activation_bits": activation}
    return {"weight_bits": both.weight_bits, "activation_bits": both.x_bits}


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
