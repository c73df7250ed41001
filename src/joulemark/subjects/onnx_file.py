"""An ONNX file of one float32 input, opened: its shape, layout, batch and precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from joulemark.backends.backend import Images
from joulemark.backends.onnx import session

FAILURES: tuple[type[Exception], ...] = (
    ValueError,
    RuntimeError,
    *(
        getattr(runtime, name)
        for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    ),
)
"""What a net that does not run raises: ONNX Runtime's exceptions have no class in common but ``Exception``."""

LARGEST_BYTES = 2_000_000_000
"""A protobuf message holds at most 2 GiB."""

QUANTISED = frozenset(
    """QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
    DynamicQuantizeMatMul QGemm QLinearAdd""".split()  # noqa: SIM905
)
"""Operators that only a quantised graph has: of ONNX, and of ONNX Runtime's own domain."""


class OnnxFile(NamedTuple):
    """A graph that ONNX Runtime opened."""

    name: str
    graph: bytes
    shape: tuple[int, ...]  # of one input, channels first
    last: bool  # the graph takes channels last
    batch: int | None  # the only batch size that the file allows; None: any
    precision: str  # "int8": the file is quantised already; else "fp32"

    def rows(self, images: Images) -> Images:
        """Inputs in the layout of the graph."""
        return channels_last(images) if self.last else images

    def weights(self) -> tuple[int, int]:
        """Numbers among the graph's constants, floating-point or of eight bits, and how many of them are not zero."""
        graph = onnx.load_from_string(self.graph).graph
        weights = [array for _, array in _initialisers(graph) if _is_weight(array)]
        weights += [array for _, array in _constants(graph) if _is_weight(array) and array.ndim]
        return sum(array.size for array in weights), sum(int(np.count_nonzero(array)) for array in weights)


def constants_of(graph: Any) -> dict[str, NDArray[Any]]:
    """The initialisers and constants of a graph and of the graphs inside of it, dense or sparse, by their names."""
    return {**dict(_constants(graph)), **dict(_initialisers(graph))}


def _initialisers(graph: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Names and values; the branches of an If may use a name twice."""
    for node in graph.node:
        for one in _inner(node):
            yield from _initialisers(one)
    yield from ((one.name, numpy_helper.to_array(one)) for one in graph.initializer)
    yield from ((one.values.name, _dense(one)) for one in graph.sparse_initializer)


def _constants(graph: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Tensors of Constant nodes. A number alone is a setting, not a weight."""
    for node in graph.node:
        for one in _inner(node):
            yield from _constants(one)
        if node.op_type == "Constant":
            for one in node.attribute:
                if one.name == "value":
                    yield node.output[0], numpy_helper.to_array(one.t)
                elif one.name == "sparse_value":
                    yield node.output[0], _dense(one.sparse_tensor)
                elif one.name == "value_floats":
                    yield node.output[0], np.array(one.floats, np.float32)


def _inner(node: Any) -> Iterator[Any]:
    """The graphs in a node: branches of an If, the body of a Loop."""
    for one in node.attribute:
        yield from ([one.g] if one.HasField("g") else one.graphs)


def _dense(sparse: Any) -> NDArray[Any]:
    """A sparse tensor in full; its places are given in one number, or in one an axis."""
    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    full = np.zeros(tuple(sparse.dims), values.dtype)
    if places.ndim == 1:
        full.reshape(-1)[places] = values
    else:
        full[tuple(places.T)] = values
    return full


def _is_weight(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f" or array.dtype.itemsize == 1 or array.dtype.name == "bfloat16"


def channels_last(images: Images) -> Images:
    """Images (rows, channels, height, width) as (rows, height, width, channels)."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def open_onnx(name: str, shape: tuple[int, ...] | None) -> OnnxFile:
    """Open an ONNX file. ``ValueError`` says in one sentence why it cannot be used.

    ``shape`` is that of one input (channels first) where the file leaves it open.
    """
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"there is no file {name}")
    try:
        model = onnx.load(path)
        if model.functions:  # operators that the file itself defines: what they are made of
            model = onnx.inliner.inline_local_functions(model)
        graph = model.SerializeToString() if model.ByteSize() < LARGEST_BYTES else b""
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ValueError(f"{name} is not an ONNX file that can be read: {error}") from error
    if not graph:
        raise ValueError(f"{name} is empty" if not model.ByteSize() else f"{name} with its weights is larger than 2 GB")
    try:
        opened = session(graph, 1)
    except FAILURES as error:
        raise ValueError(f"ONNX Runtime cannot open {name}: {error}") from error
    batch, row, last = _input(name, opened, shape)
    return OnnxFile(name, graph, row, last, batch, _precision(model))


def _precision(model: Any) -> str:
    """Of the file as it came: one operator on integers is enough to say that it was quantised."""
    return "int8" if any(node.op_type in QUANTISED for node in model.graph.node) else "fp32"


def _input(
    name: str, opened: onnxruntime.InferenceSession, shape: tuple[int, ...] | None
) -> tuple[int | None, tuple[int, ...], bool]:
    """Batch size if it is fixed, shape of a row channels first, and whether the graph takes channels last."""
    inputs = opened.get_inputs()
    if len(inputs) != 1:
        listed = ", ".join(one.name for one in inputs) or "none"
        raise ValueError(f"{name} has {len(inputs)} inputs ({listed}): give a net of exactly one")
    kind, dims = inputs[0].type, list(inputs[0].shape)
    if kind != "tensor(float)":
        raise ValueError(f"{name} takes {kind}: give a net that takes float32")
    if len(dims) < 2:
        raise ValueError(f"the input of {name} has shape {dims}: the first axis must be the batch")
    batch = dims[0] if isinstance(dims[0], int) else None
    last = len(dims) == 4 and dims[3] in (1, 3) and dims[1] not in (1, 3)
    row = [dims[3], dims[1], dims[2]] if last else dims[1:]
    if shape is not None and len(shape) == len(row):
        row = [given if not isinstance(stated, int) else stated for stated, given in zip(row, shape, strict=True)]
        if tuple(row) != shape:
            raise ValueError(f"--shape {','.join(map(str, shape))} does not fit {name}, which takes {tuple(row)}")
    elif shape is not None or not all(isinstance(size, int) for size in row):
        raise ValueError(f"{name} leaves its input open, {row}: give the shape of one input, as --shape 3,224,224")
    return batch, tuple(row), last
