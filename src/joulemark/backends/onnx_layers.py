"""The layers of an exported net: where in its graph each one begins, and the graph cut off there."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this key PyTorch's exporter notes the modules that a node stood in, outermost first, and then its own name."""


def cut_at(data: bytes, paths: Sequence[str]) -> dict[str, bytes]:
    """The graph that computes what a layer receives, for each layer of ``paths`` that the graph still shows."""
    model = onnx.load_from_string(data)
    found = {}
    for path, value in entries(model.graph).items():
        if path in paths:
            del model.graph.output[:]
            model.graph.output.append(onnx.ValueInfoProto(name=value))
            found[path] = bytes(model.SerializeToString())
    return found


def entries(graph: onnx.GraphProto) -> dict[str, str]:
    """What each layer of an exported net reads, by its path: the first value that comes from outside of it.

    Of a layer that takes its input in integers, what they stand for: the value behind its quantise-dequantise pair.
    """
    constants = {one.name for one in graph.initializer}
    made: dict[str, set[str]] = {}  # in each layer
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        made.setdefault(_path(node, constants), set()).update(node.output)
        for value in node.input:
            readers.setdefault(value, []).append(node)
    found: dict[str, str] = {}
    for node in graph.node:
        path = _path(node, constants)
        outside = [value for value in node.input if value not in constants | made[path]]
        if path not in found and outside:
            found[path] = next(_behind_integers(outside[0], node, readers))
    return found


def _behind_integers(value: str, node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str]:
    if node.op_type == "QuantizeLinear":
        yield from (one.output[0] for one in readers[node.output[0]] if one.op_type == "DequantizeLinear")
    yield value


def _path(node: onnx.NodeProto, constants: Collection[str]) -> str:
    """The layer whose weight a node reads by its name; where it was transposed or there is none, the one noted."""
    # The exporter folds a batch norm into the convolution before it, and notes the batch norm.
    owners: list[str] = [
        value.removesuffix(".weight") for value in node.input if value in constants and value.endswith(".weight")
    ]
    if owners:
        return owners[0]
    noted = next((one.value for one in node.metadata_props if one.key == SCOPES), "[]")
    scopes: list[str] = ast.literal_eval(noted)
    return str(scopes[-2]) if len(scopes) > 1 else ""
