"""Eight-bit integers for an ONNX graph, by ONNX Runtime's own static quantisation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from joulemark.backends.backend import Images


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """Hands images to the calibration, ``batch_size`` at a time."""

    def __init__(self, name: str, images: Images, batch_size: int) -> None:
        starts = range(0, len(images) - batch_size + 1, batch_size)
        self.feeds: Iterator[dict[str, Any]] = (
            {name: np.ascontiguousarray(images[start : start + batch_size])} for start in starts
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)


def quantised(graph: bytes, images: Images, *, batch_size: int = 1) -> bytes:
    """The graph in the quantise-dequantise form: int8 weights per channel, uint8 activations per tensor.

    Ranges are the least and greatest values seen on ``images``, which are in the layout of the graph. Raises
    ``ValueError`` if the graph cannot be quantised.
    """
    model = onnx.load_from_string(graph)
    constants = {one.name for one in model.graph.initializer}
    name = next(one.name for one in model.graph.input if one.name not in constants)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises on the root logger what is done here anyway
    try:
        with tempfile.TemporaryDirectory() as folder:
            given, ready, made = (Path(folder) / part for part in ("given.onnx", "ready.onnx", "made.onnx"))
            given.write_bytes(graph)
            quant_pre_process(given, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                made,
                _Images(name, images, batch_size),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return made.read_bytes()
    except Exception as error:
        raise ValueError(f"ONNX Runtime cannot quantise it: {error}") from error
    finally:
        logging.getLogger().setLevel(level)
