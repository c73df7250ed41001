"""What is audited: an ONNX file, or a torch module made by a function of the user's own code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from joulemark.backends.backend import Images
from joulemark.backends.onnx_exporter import export
from joulemark.subjects.onnx_file import channels_last, open_onnx
from joulemark.subjects.user_code import build_module, input_shape, output_of


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
        return channels_last(images) if self.last else images


def open_subject(name: str, shape: tuple[int, ...] | None) -> Subject:
    """Open ``model.onnx`` or ``package.module:function``. ``ValueError`` says in one sentence why it cannot be audited.

    ``shape`` is that of one input (channels first) where the net leaves it open.
    """
    if name.endswith(".onnx"):
        file = open_onnx(name, shape)
        return Subject(name, file.graph, None, file.shape, file.last, file.batch, file.precision)
    if ":" in name:
        return module_subject(name, build_module(name), shape)
    raise ValueError(f"{name!r} is neither an .onnx file nor a function as package.module:function")


def module_subject(name: str, module: nn.Module, shape: tuple[int, ...] | None) -> Subject:
    """A torch module in evaluation mode, under that name. Raises ``ValueError`` as :func:`open_subject`."""
    row = input_shape(module, name, shape)
    example = torch.zeros(2, *row)
    output = output_of(module, name, example)
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"{name} returns {type(output).__name__}: an audit needs a net that returns one tensor")
    return Subject(name, export(module, (example,)), module, row, False, None)
