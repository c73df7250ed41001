"""A dynamic net as one ONNX graph for each segment, on any runtime that reads such graphs.

Rows that leave are dropped between the graphs, so that a dynamic net does less work, not the same work masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.backends.backend import Images
from joulemark.backends.onnx_exporter import export
from joulemark.nets.segments import InnerSegment, Segment, Segments, hand_on, travel

Run = Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
"""A graph, ready to run: its inputs to its outputs, both in the order in which the graph has them."""


class SegmentGraphs:
    """A dynamic net: one graph a segment, rows dropped in between. ``opened`` makes each graph ready to run."""

    def __init__(self, module: Segments, input_shape: tuple[int, ...], opened: Callable[[bytes], Run]) -> None:
        carry = {"features": torch.zeros(2, *input_shape)}
        self.graphs: list[Run] = []
        self.reads: list[tuple[str, ...]] = []  # carry entries each graph takes, in the order of its inputs
        self.writes: list[tuple[str, ...]] = []  # carry entries each graph replaces
        segments = module.segments()
        self.hand = hand_on(segments)
        self.answers = [segment.answers for segment in segments]  # whether each graph gives logits
        for number, segment in enumerate(segments, start=1):
            with torch.no_grad():
                after, _, _ = segment(carry)
            reads = tuple(sorted(carry))
            writes = tuple(key for key in sorted(after) if after[key] is not carry.get(key))
            example = tuple(carry[key] for key in reads)
            self.graphs.append(opened(export(_Arguments(segment, reads, writes), example, variadic=True)))
            self.reads.append(reads)
            self.writes.append(writes)
            carry = segment.handed(after, number)

    def run(self, images: Images) -> Images:
        """Logits of the exit each row takes."""
        carry = {"features": images}
        pieces = travel(
            self._step,
            carry,
            rows=len(images),
            take=take_rows,
            join=np.concatenate,
            hand=self.hand,
            segments=len(self.graphs),
        )
        output = np.empty((len(images), pieces[0][1].shape[1]), np.float32)
        for rows, logits in pieces:
            output[rows] = logits
        return output

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits of every exit that has some, all rows going through all graphs."""
        carry: dict[str, Any] = {"features": images}
        exits = []
        for index in range(len(self.graphs)):
            carry, logits, _ = self._step(index, carry)
            carry = self.hand(index, index + 1, carry)
            if logits is not None:
                exits.append(logits)
        return exits

    def _step(self, index: int, carry: dict[str, Any]) -> tuple[dict[str, Any], Any, NDArray[np.int64]]:
        onward, *rest = self.graphs[index]([carry[key] for key in self.reads[index]])
        logits = rest.pop(0) if self.answers[index] else None
        return {**carry, **dict(zip(self.writes[index], rest, strict=True))}, logits, onward


def take_rows(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The given rows of an array."""
    return array[rows]


class _Arguments(nn.Module):
    """A segment with tensors for arguments, as the exporter wants it."""

    def __init__(self, segment: Segment | InnerSegment, reads: tuple[str, ...], writes: tuple[str, ...]) -> None:
        super().__init__()
        self.segment, self.reads, self.writes = segment, reads, writes

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        carry, logits, onward = self.segment(dict(zip(self.reads, values, strict=True)))
        return onward, *(() if logits is None else (logits,)), *(carry[key] for key in self.writes)
