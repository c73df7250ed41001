"""A torch module as an ONNX graph: what the runtimes that read ONNX are given."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from joulemark.nets.layers.layer import own_translations

OPSET = 18


def lacking() -> str | None:
    """What to install before a module can be exported; ``None`` if all is there."""
    missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    return f"install {' and '.join(missing)}: the exporter needs them" if missing else None


def export(module: nn.Module, example: tuple[Tensor, ...], *, free_rows: bool = True, variadic: bool = False) -> bytes:
    """The module as an ONNX file, with a free batch axis or that of the example. ``ValueError`` if it cannot be.

    ``variadic``: its ``forward`` takes all inputs by one ``*values``.
    """
    import onnx  # noqa: F401  (the exporter runs both: their versions count, and this is where they are read from)
    import onnxscript  # noqa: F401

    rows = torch.export.Dim("rows")
    shapes: Any = tuple({0: rows} for _ in example) if free_rows else None
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns once for every torchvision operator when torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's exporter copies a deprecated class of its own
            warnings.filterwarnings("ignore", "# The axis name")  # all entries of a carry have the same rows: so we say
            program = torch.onnx.export(
                module.eval(),
                example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(shapes,) if variadic else shapes,
                custom_translation_table=own_translations(module),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(f"the net cannot be exported to ONNX: {reason}") from error
    finally:
        logger.setLevel(level)
    if program is None:
        raise ValueError("the exporter gave no graph")
    return bytes(program.model_proto.SerializeToString())
