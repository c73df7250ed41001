"""What is audited: an ONNX file, or a torch module made by a function of the user's own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from torch import nn

from joulemark.backends.backend import Images
from joulemark.backends.onnx import export, session

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


class Subject(NamedTuple):
    """A net of one float32 input, as a graph and, if it came from torch, as a module."""

    name: str
    graph: bytes
    module: nn.Module | None
    shape: tuple[int, ...]  # of one input, channels first
    last: bool  # the graph takes channels last
    batch: int | None  # the only batch size that the file allows; None: any
    precision: str = "fp32"  # "int8": the file is quantised already

    def rows(self, images: Images) -> Images:
        """Inputs in the layout of the graph."""
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if self.last else images


def open_subject(name: str, shape: tuple[int, ...] | None) -> Subject:
    """Open ``model.onnx`` or ``package.module:function``. ``ValueError`` says in one sentence why it cannot be audited.

    ``shape`` is that of one input (channels first) where the net leaves it open.
    """
    if name.endswith(".onnx"):
        return _file(name, shape)
    if ":" in name:
        return _factory(name, shape)
    raise ValueError(f"{name!r} is neither an .onnx file nor a function as package.module:function")


def _file(name: str, shape: tuple[int, ...] | None) -> Subject:
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"there is no file {name}")
    try:
        model = onnx.load(path)
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
    return Subject(name, graph, None, row, last, batch, _precision(model))


def _precision(model: onnx.ModelProto) -> str:
    """Of the file as it came: one operator on integers is enough to say that it was quantised."""
    return "int8" if any(node.op_type in QUANTISED for node in model.graph.node) else "fp32"


def _input(
    name: str, opened: onnxruntime.InferenceSession, shape: tuple[int, ...] | None
) -> tuple[int | None, tuple[int, ...], bool]:
    """Batch size if it is fixed, shape of a row channels first, and whether the graph takes channels last."""
    inputs = opened.get_inputs()
    if len(inputs) != 1:
        listed = ", ".join(one.name for one in inputs) or "none"
        raise ValueError(f"{name} has {len(inputs)} inputs ({listed}): an audit needs a net of exactly one")
    kind, dims = inputs[0].type, list(inputs[0].shape)
    if kind != "tensor(float)":
        raise ValueError(f"{name} takes {kind}: an audit sends float32")
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


def _factory(name: str, shape: tuple[int, ...] | None) -> Subject:
    module = _built(name)
    row = shape or getattr(module, "INPUT_SHAPE", None)
    if row is None:
        raise ValueError(f"{name} does not state its INPUT_SHAPE: give the shape of one input, as --shape 3,224,224")
    row = tuple(int(size) for size in row)
    example = torch.zeros(2, *row)
    try:
        with torch.inference_mode():
            output = module(example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name} does not run on inputs of shape {row}: {error}") from error
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"{name} returns {type(output).__name__}: an audit needs a net that returns one tensor")
    return Subject(name, export(module, (example,)), module, row, False, None)


def _built(name: str) -> nn.Module:
    """Import and call the user's function: this runs their code, which is what they asked for."""
    place, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:  # it is the user's code, which may raise anything, or leave
        build: Any = getattr(importlib.import_module(place), function)
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot import {name}: {type(error).__name__}: {error}") from error
    try:
        module = build()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name}() returned {type(module).__name__}, not a torch module")
    return module.eval()
