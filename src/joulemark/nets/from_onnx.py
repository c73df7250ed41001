"""An ONNX file as a torch module, so that a net from any framework can be made cheaper like one that was built here.

Convolutions, linear layers and norms become layers of torch at readable paths, with the weights of the file; all else
becomes functions (:mod:`joulemark.nets.onnx_operators`, :mod:`joulemark.nets.onnx_shapes`). The graph is read node by
node while one batch of noise runs through it, because ranks and shapes decide what some nodes mean. In the end ONNX
Runtime must answer the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from joulemark.nets.onnx_module import Held, OnnxModule, Step, needed
from joulemark.nets.onnx_node import Array, Node
from joulemark.nets.onnx_reading import READERS, Graph, read_graph

ROWS = 2
"""Of the batch that is run where the file leaves the number open."""
OPEN_SIZES = (32, 224, 128, 64, 16)
"""What is tried, in this order, for other axes that the file leaves open."""
TOLERANCE = 1e-3
"""Largest difference from ONNX Runtime's answers, over the largest of them."""
MOST_SHAPE = 64
"""Whole numbers in a constant that may be a shape."""


def module_from_onnx(path: Path) -> nn.Module:
    """The net of an ONNX file as a module in evaluation mode: (rows, *input shape) to what the file puts out.

    It runs any number of rows, also where the file states one, if its operators allow that. Batch norms that the file
    holds are there to be trained; a layer that the file uses twice is one layer. Raises ``ValueError`` in one sentence
    for what is no ONNX file, is quantised, is not float32, has several inputs or outputs, or uses what Joulemark cannot
    read.
    """
    graph = read_graph(path)
    reason: Exception | None = None
    for size in OPEN_SIZES if None in graph.shape[1:] else (0,):
        shape = (graph.shape[0] or ROWS, *(axis or size for axis in graph.shape[1:]))
        example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        try:
            module, answer = _Reading(graph, example).module()
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        except (RuntimeError, IndexError, TypeError) as error:  # what torch raises for shapes that do not fit
            reason = error
            continue
        _refuse_others_answers(path, example, answer)
        return module
    raise ValueError(f"{path.name} does not run: {reason}")


class _Reading:
    """A graph on its way to a module: what is known of each name, and one run of it."""

    def __init__(self, graph: Graph, example: Tensor) -> None:
        self.graph = graph
        self.made = OnnxModule(graph.entry, graph.answer)
        self.values: dict[str, Any] = {graph.entry: example}  # of the run
        self.sources: dict[str, Any] = {graph.entry: graph.entry}  # what a step is given for a name
        self.layers: dict[Any, str] = {}  # paths of layers by what they are made of
        self.steps: list[Step] = []

    def module(self) -> tuple[OnnxModule, Tensor]:
        """The module, and what it puts out in the run."""
        with torch.no_grad():
            for node in self.graph.nodes:
                self._read(node)
        answer = self.values[self.graph.answer]
        if not isinstance(answer, Tensor):
            raise ValueError("its output is a shape, not an answer")
        self.made.order = needed(self.steps, self.graph.answer)
        return self.made.eval(), answer

    def _read(self, node: Node) -> None:
        node = node._replace(constants=self.graph.constants, values=self.values)
        for name in node.inputs:
            if name in self.graph.constants and name not in self.values:
                self.values[name] = _plain(self.graph.constants[name])
        call = READERS[node.kind](node)
        does = self._layer(node, call.does) if isinstance(call.does, nn.Module) else call.does
        inputs = [self._source(node.inputs[place]) for place in call.places]
        around = [f"{node.outputs[0]}{end}" for end in (" before", " after")]
        if call.before is not None:
            self._step(Step(call.before, (inputs[0],), (around[0],)))
            inputs[0] = around[0]
        outputs = node.outputs[:1] if isinstance(does, str) or node.kind != "Split" else node.outputs
        self._step(Step(does, tuple(inputs), (around[1],) if call.after is not None else outputs))
        if call.after is not None:
            self._step(Step(call.after, (around[1],), outputs))
        self.sources |= {name: name for name in outputs}

    def _step(self, step: Step) -> None:
        self.made.do(step, self.values)
        self.steps.append(step)

    def _source(self, name: str) -> Any:
        """What a step is given for a name; a constant tensor becomes one of the module."""
        if name not in self.sources:
            value = self.values[name]
            if isinstance(value, np.ndarray):
                raise ValueError(f"it computes with {name}, of {value.dtype}, which Joulemark cannot read")
            if isinstance(value, Tensor):
                trained = value.numel() > 1 and not name.startswith(("onnx::", "val_", "/"))
                path = _path([name]) or f"constant_{sum(isinstance(one, Held) for one in self.sources.values())}"
                value = Held(self.made.place(path, nn.Parameter(value) if trained else value))
            self.sources[name] = value
        return self.sources[name]

    def _layer(self, node: Node, layer: nn.Module) -> str:
        """The path of a layer in the module, the same for the same weights used in the same way."""
        weights = tuple(name for name in node.inputs if name in self.graph.constants)
        once = node.outputs if not any(True for _ in layer.parameters()) else ()
        key = (node.kind, weights, repr(sorted(node.settings.items())), once)
        if key not in self.layers:
            path = _path(weights, of_layer=True) or _scope(node) or f"{node.kind.lower()}_{len(self.layers)}"
            self.layers[key] = self.made.place(path, layer.eval())  # the run must not move statistics
        return self.layers[key]


def _plain(constant: Array) -> Any:
    """A constant as a tensor, as a number, or as the list of whole numbers that a shape is; others stay as they are."""
    if constant.dtype.kind in "iu" and constant.ndim <= 1 and constant.size <= MOST_SHAPE:
        return constant.tolist()
    if constant.dtype != np.float32:
        return constant
    return torch.from_numpy(constant.copy()) if constant.ndim else float(constant)


def _path(names: Sequence[str], *, of_layer: bool = False) -> str:
    """A path from names as "layer1.0.conv1.weight", without its end if it is of a layer; "" if there is none.

    >>> _path(["layer1.0.conv1.weight", "layer1.0.conv1.bias"], of_layer=True), _path(["onnx::Conv_12"])
    ('layer1.0.conv1', '')
    """
    for name in names:
        path, dot, _ = name.rpartition(".") if of_layer else (name, ".", "")
        if path and dot and "::" not in name and "/" not in name:
            return _cleaned(path)
    return ""


def _scope(node: Node) -> str:
    """A path from the name of a node, in which exporters write where it was.

    >>> _scope(Node("Conv", "/layer1/layer1.0/conv1/Conv", {}, (), ()))
    'layer1.0.conv1'
    >>> _scope(Node("Conv", "model/conv2d_3/Conv2D", {}, (), ())), _scope(Node("Conv", "node_conv2d_4", {}, (), ()))
    ('model.conv2d_3', 'conv2d_4')
    """
    parts = [part for part in node.label.split("/") if part]
    if len(parts) < 2:
        return _cleaned(node.label.removeprefix("node_"))
    within = pairwise(parts)  # torch writes a layer of a Sequential as "layer1/layer1.0"
    return _cleaned(".".join(part for part, inner in within if not inner.startswith(f"{part}.")))


def _cleaned(path: str) -> str:
    """Only what a path of a module may hold."""
    parts = (re.sub(r"\W", "_", part) for part in path.split("."))
    return ".".join(part for part in parts if part)


def _refuse_others_answers(path: Path, example: Tensor, answer: Tensor) -> None:
    """Raise ``ValueError`` unless ONNX Runtime answers the same rows with the same numbers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        other = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: example.numpy()})[0])
    except Exception as error:  # its exceptions have no other class in common
        raise ValueError(f"ONNX Runtime cannot run {path.name}: {error}") from error
    apart = float("inf")
    if other.shape == answer.shape:
        apart = float((other - answer).abs().max()) / (float(other.abs().max()) or 1.0)
    if not apart <= TOLERANCE:
        raise ValueError(
            f"{path.name} answers otherwise here than in ONNX Runtime (by {apart:.2g} of its largest number), so "
            "Joulemark cannot read it: build the net in torch and load its weights"
        )
