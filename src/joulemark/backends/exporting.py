"""A net as one file that others run: ONNX, or a program of ``torch.export`` that plain PyTorch opens.

Neither file needs Joulemark or the code that built the net. A static net takes any number of rows. A net with exits, or
a cascade, takes one row at a time and really skips what lies behind the exit (see :mod:`joulemark.backends.one_row`).
The scaling of inputs is not in the file.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from joulemark.backends.one_row import OneRow
from joulemark.backends.onnx_exporter import export
from joulemark.nets.layers.quantize import in_plain_operators
from joulemark.nets.net import Net
from joulemark.nets.segments import Segments

INPUT, OUTPUT = "input", "logits"
"""Names in an ONNX file."""
NET_NOTE = "joulemark_net"
"""Name of the note that holds the net's hash."""
NOTES_FILE = "notes.json"
"""Where a .pt2 file keeps its notes: ``torch.export.load(path, extra_files={NOTES_FILE: ""})`` reads them."""
LEFT_OUT = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")
"""What PyTorch notes of each operator's origin: paths and classes of the machine that exported it."""
PLAIN = frozenset({"aten", "prim", "prims", "higher_order"})
"""Namespaces of the operators that PyTorch has by itself."""


def to_onnx(net: Net, notes: Mapping[str, str] | None = None) -> bytes:
    """``net`` as one ONNX file: ``input`` (rows, *input_shape), float32, to ``logits`` (rows, classes).

    A dynamic net has 1 for rows. Integers of 8 bits are pairs of QuantizeLinear and DequantizeLinear. ``notes`` and the
    net's hash become the file's ``metadata_props``. Raises ``ValueError`` for a net that ONNX cannot hold.
    """
    import onnx

    module = _module(net)
    dynamic = isinstance(module, OneRow)
    example = torch.zeros(1 if dynamic else 2, *net.input_shape)
    model = onnx.load_from_string(export(module, (example,), free_rows=not dynamic))
    _clean(model)
    onnx.helper.set_model_props(model, {NET_NOTE: net.hash, **(notes or {})})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def to_pt2(net: Net, notes: Mapping[str, str] | None = None) -> bytes:
    """``net`` as a file of ``torch.export``, of plain PyTorch operators: ``torch.export.load(path).module()`` runs it.

    It maps (rows, *input_shape), float32, to (rows, classes); a dynamic net has 1 for rows. Integers are simulated, as
    in eager PyTorch. Raises ``ValueError`` for a net that cannot be traced or runs an operator of somebody's own.
    """
    module = _module(net)
    dynamic = isinstance(module, OneRow)
    example = torch.zeros(1 if dynamic else 2, *net.input_shape)
    shapes: Any = None if dynamic else ({0: torch.export.Dim("rows")},)
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(module, (example,), dynamic_shapes=shapes)
            program = program.run_decompositions({torch.ops.joulemark.quantize_dequantize.default: in_plain_operators})
    except Exception as error:  # tracing runs the module, which is anybody's
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"the net cannot be exported by torch.export: {reason}") from error
    for graph in _graph_modules(program):
        _refuse_others_operators(graph)
        for node in graph.graph.nodes:
            for name in LEFT_OUT:
                node.meta.pop(name, None)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={NOTES_FILE: json.dumps({NET_NOTE: net.hash, **(notes or {})})})
    return file.getvalue()


def _module(net: Net) -> nn.Module:
    """The module that is exported, without gradients."""
    module = net.module().requires_grad_(False)
    return OneRow(module, net.input_shape).eval() if isinstance(module, Segments) else module


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say of torchvision's operators and of a deprecated class of their own."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _clean(model: Any) -> None:
    """Take out what tells of this machine, and give input and output their names."""
    graph = model.graph
    names: dict[str, str] = {}
    for value, name in ((graph.input[0], INPUT), (graph.output[0], OUTPUT)):
        if value.name != name:
            names |= {value.name: name, name: value.name}  # swapped: an inner value may have the name
    for inner in _graphs(graph):
        inner.ClearField("doc_string")
        inner.ClearField("metadata_props")
        values = (*inner.input, *inner.output, *inner.value_info, *inner.initializer)
        for value in values:
            value.ClearField("metadata_props")
            value.name = names.get(value.name, value.name)
        for node in inner.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]


def _graphs(graph: Any) -> Iterator[Any]:
    """An ONNX graph and those in the branches of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _graph_modules(program: torch.export.ExportedProgram) -> Iterator[Any]:
    """The graph of a program and those of its branches."""
    return (module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule))


def _refuse_others_operators(graph: Any) -> None:
    for node in graph.graph.nodes:
        namespace = getattr(node.target, "namespace", None)
        if node.op == "call_function" and namespace is not None and namespace not in PLAIN:
            raise ValueError(
                f"the net runs {node.target}, an operator that plain PyTorch does not have: export it as .onnx, or "
                "save it as .safetensors"
            )
