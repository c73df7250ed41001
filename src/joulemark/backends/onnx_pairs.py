"""Pairs of QuantizeLinear and DequantizeLinear where a runtime looks for them. No output changes, to the last bit.

What was rounded stays rounded when it is pooled, moved or put beside others of the same scale, so a second pair of that
scale rounds nothing. OpenVINO runs it all the same: :func:`once` takes it out. ONNX Runtime computes in integers only
what stands between pairs: :func:`around` puts one behind each such operator.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import GraphProto, NodeProto, numpy_helper

CARRIERS = frozenset({"MaxPool", "Reshape", "Flatten", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Identity", "Pad"})
"""Operators that hand on what their first input holds; Pad, if it pads zeros."""

Scale = tuple[bytes, bytes]
"""Scale and integer of zero, as bytes."""


def once(data: bytes) -> bytes:
    """The graph without pairs that round what was rounded in the same scale before."""
    if b"QuantizeLinear" not in data:
        return data
    model = onnx.load_from_string(data)
    _drop_repeats(model.graph)
    return bytes(model.SerializeToString())


def around(data: bytes) -> bytes:
    """The graph with one pair behind every operator that hands on what is in integers."""
    if b"QuantizeLinear" not in data:
        return data
    model = onnx.load_from_string(data)
    _drop_repeats(model.graph)
    _spread(model.graph)
    return bytes(model.SerializeToString())


class _Scales:
    """The scale in which each value of a graph is known to be rounded, as far as its nodes were read."""

    def __init__(self, graph: GraphProto) -> None:
        self.constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.of: dict[str, Scale] = {}

    def pair(self, node: NodeProto) -> Scale | None:
        """That of a QuantizeLinear or DequantizeLinear with one scale for all; ``None`` for others."""
        if len(node.input) < 3 or any(name not in self.constants for name in node.input[1:3]):
            return None
        scale, zero = (self.constants[name] for name in node.input[1:3])
        return (scale.tobytes(), zero.tobytes()) if scale.size == 1 else None

    def read(self, node: NodeProto) -> None:
        """Note what is known of what ``node`` gives."""
        scale = None
        if node.op_type == "DequantizeLinear":
            scale = self.pair(node)
        elif node.op_type == "Concat":
            scales = {self.of.get(name) for name in node.input}
            scale = scales.pop() if len(scales) == 1 else None
        elif self.hands_on(node):
            scale = self.of.get(node.input[0])
        if scale is not None:
            self.of[node.output[0]] = scale

    def hands_on(self, node: NodeProto) -> bool:
        """Whether ``node`` gives only values that its first input holds, or zeros."""
        if node.op_type == "Relu":  # of values without negative ones
            scale = self.of.get(node.input[0])
            return scale is not None and not any(scale[1])
        if node.op_type == "Pad":
            mode = next((one.s for one in node.attribute if one.name == "mode"), b"constant")
            value = self.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
            return mode != b"constant" or (value is not None and not float(value))
        return node.op_type in CARRIERS


def _drop_repeats(graph: GraphProto) -> None:
    """Take out each pair that reads what is rounded in its own scale already."""
    scales, kept = _Scales(graph), []
    instead: dict[str, str] = {}
    repeated: dict[str, str] = {}  # what a dropped QuantizeLinear gave -> what it read
    for node in graph.node:
        node.input[:] = [instead.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear" and (one := scales.pair(node)) and one == scales.of.get(node.input[0]):
            repeated[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in repeated:
            instead[node.output[0]] = repeated[node.input[0]]
        else:
            scales.read(node)
            kept.append(node)
    given = {one.name for one in graph.output} & instead.keys()
    kept += [onnx.helper.make_node("Identity", [instead[name]], [name]) for name in sorted(given)]
    del graph.node[:]
    graph.node.extend(kept)


def _spread(graph: GraphProto) -> None:
    """Put a pair behind every operator that hands on what is rounded."""
    scales, kept = _Scales(graph), []
    instead: dict[str, str] = {}
    pairs: dict[Scale, list[str]] = {}  # names of the constants of each scale
    for node in graph.node:
        node.input[:] = [instead.get(name, name) for name in node.input]
        kept.append(node)
        scales.read(node)
        known = scales.of.get(node.output[0]) if node.output else None
        if known is not None and node.op_type == "DequantizeLinear":
            pairs.setdefault(known, list(node.input[1:3]))
        elif known is not None and known in pairs:
            kept += _pair(node.output[0], pairs[known])
            instead[node.output[0]] = kept[-1].output[0]
            scales.read(kept[-1])
    del graph.node[:]
    graph.node.extend(kept)


def _pair(value: str, constants: list[str]) -> Iterator[NodeProto]:
    for operator, given, gives in (
        ("QuantizeLinear", value, f"{value}_integers"),
        ("DequantizeLinear", f"{value}_integers", f"{value}_rounded"),
    ):
        yield onnx.helper.make_node(operator, [given, *constants], [gives], name=f"{operator}_{gives}")
