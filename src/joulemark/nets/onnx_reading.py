"""An ONNX file read as a graph of float32: opened, checked, its constants computed, its nodes in order.

What Joulemark cannot take is said in one sentence of ``ValueError``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from joulemark.nets.onnx_layers import LAYERS
from joulemark.nets.onnx_node import Array, Node, Reader
from joulemark.nets.onnx_operators import OPERATORS
from joulemark.nets.onnx_shapes import PADDED_SUM, SHAPES, SUMMAND

READERS: Mapping[str, Reader] = {**LAYERS, **OPERATORS, **SHAPES}
"""Every operator that can be read."""
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "QGemm", "QAttention", "Integer", "MatMulNBits")
"""What the names of operators of quantised graphs hold."""
STANDARD = ("", "ai.onnx")
FEWEST_OPSET = 7
"""Before it two operands were not broadcast as they are today."""
NUMBERS = {2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "booleans", 10: "float16", 11: "float64", 16: "bfloat16"}
"""Kinds of numbers by ONNX's TensorProto.DataType, which has more."""


class Graph(NamedTuple):
    """What is left of a file: one input, one output, the nodes between, the constants that they read."""

    entry: str
    shape: tuple[int | None, ...]
    """Of the input; ``None`` where the file leaves an axis open."""
    answer: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file. ``ValueError`` in one sentence if it is none that Joulemark can read."""
    model = _opened(path)
    opset = next((one.version for one in model.opset_import if one.domain in STANDARD), 1)
    graph = model.graph
    _refuse_quantised(path, graph)
    if opset < FEWEST_OPSET:
        raise ValueError(f"{path.name} is of ONNX opset {opset}: export it again, with opset {FEWEST_OPSET} or newer")
    held = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in held]
    for count, what, names in ((len(inputs), "inputs", inputs), (len(graph.output), "outputs", graph.output)):
        if count != 1:
            listed = ", ".join(one.name for one in names) or "none"
            raise ValueError(f"{path.name} has {count} {what} ({listed}): give a net of exactly one")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != 1:
        number = NUMBERS.get(kind.elem_type, "something else")
        raise ValueError(f"{path.name} takes {number}: give a net that takes float32")
    answer = graph.output[0].name
    constants = _constants(path, graph)
    nodes = _computed(_live(graph.node, answer), constants, opset)
    _refuse_unread(path, nodes)
    read = [_node(one, opset) for one in nodes]
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)
    if len(shape) < 2:
        raise ValueError(f"the input of {path.name} has {len(shape)} axes: the first must be the rows of a batch")
    return Graph(inputs[0].name, shape, answer, tuple(_merged(read, constants, answer)), constants)


def _opened(path: Path) -> Any:
    """The model, of plain operators only."""
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        model = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name} is not an ONNX file that can be read: {reason}") from error
    if not model.graph.output:
        raise ValueError(f"{path.name} is not an ONNX file that can be read: it holds no graph")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _refuse_quantised(path: Path, graph: Any) -> None:
    for node in graph.node:
        if any(part in node.op_type for part in QUANTISED):
            raise ValueError(
                f"{path.name} is quantised already ({node.op_type}, node {_label(node)}): give the float32 net that it "
                "was made from"
            )


def _refuse_unread(path: Path, nodes: Sequence[Any]) -> None:
    for node in nodes:
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        if kind not in READERS:
            raise ValueError(
                f"{path.name} uses {kind} (node {_label(node)}), which Joulemark cannot read: build the net in torch "
                "and load its weights"
            )


def _constants(path: Path, graph: Any) -> dict[str, Array]:
    """Initialisers and Constant nodes, by name."""
    from onnx import numpy_helper

    found: dict[str, Array] = {}
    if graph.sparse_initializer:
        raise ValueError(f"{path.name} holds sparse weights, which Joulemark cannot read: export them dense")
    for one in graph.initializer:
        if one.data_type in (10, 11, 16):
            number = NUMBERS[one.data_type]
            raise ValueError(f"{path.name} holds {one.name} in {number}: export the net in float32")
        found[one.name] = numpy_helper.to_array(one)
    return found


def _live(nodes: Sequence[Any], answer: str) -> list[Any]:
    """The nodes that the answer depends on."""
    read, found = {answer}, []
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            read.update(node.input)
            found.append(node)
    return found[::-1]


def _computed(nodes: Sequence[Any], constants: dict[str, Array], opset: int) -> list[Any]:
    """The nodes that depend on the input; what the others make is added to ``constants``."""
    left = []
    for node in nodes:
        known = all(not name or name in constants for name in node.input)
        if known and not node.op_type.startswith("Random") and node.domain in STANDARD:
            constants.update(zip(node.output, _evaluated(node, constants, opset), strict=True))
        else:
            left.append(node)
    return left


def _evaluated(node: Any, constants: Mapping[str, Array], opset: int) -> list[Array]:
    """What a node makes of constants, by ONNX's own reference."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.input) if name]
    values = [onnx.ValueInfoProto(name=name) for name in names]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constant", values, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        made = ReferenceEvaluator(model).run(None, {name: constants[name] for name in names})
    except Exception as error:  # each operator raises its own
        raise ValueError(f"{node.op_type} (node {_label(node)}) cannot be computed: {error}") from error
    return list(made)


def _node(node: Any, opset: int) -> Node:
    import onnx

    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in settings.items()}
    return Node(node.op_type, _label(node), plain, tuple(node.input), tuple(node.output), opset)


def _label(node: Any) -> str:
    return str(node.name or next(iter(node.output), "without a name"))


def _merged(nodes: Sequence[Node], constants: Mapping[str, Array], answer: str) -> list[Node]:
    """The nodes; an Add that alone reads a product with a constant matrix, or a Pad, may be read together with it."""
    readers = Counter(name for node in nodes for name in node.inputs)
    makers = {
        node.outputs[0]: node
        for node in nodes
        if node.kind in ("MatMul", "Pad") and readers[node.outputs[0]] == 1 and node.outputs[0] != answer
    }
    joined, gone = {}, set()
    for node in nodes:
        for name, other in (node.inputs, node.inputs[::-1]) if node.kind == "Add" else ():
            whole = _with_added(makers[name], other, constants) if name in makers else None
            if whole is not None:
                joined[node.outputs[0]] = whole._replace(outputs=node.outputs)
                gone.add(name)
                break
    return [joined.get(node.outputs[0], node) for node in nodes if node.outputs[0] not in gone]


def _with_added(node: Node, other: str, constants: Mapping[str, Array]) -> Node | None:
    """A product whose bias the other summand is, or a shortcut that is padded and added to it; ``None`` if neither."""
    if node.kind == "Pad":
        unstated = [""] * (SUMMAND - len(node.inputs))
        return node._replace(kind=PADDED_SUM, inputs=(*node.inputs, *unstated, other))
    weight, bias = constants.get(node.inputs[1]), constants.get(other)
    fits = weight is not None and bias is not None and weight.ndim == 2 and bias.shape == weight.shape[1:]
    return node._replace(inputs=(*node.inputs, other)) if fits else None
