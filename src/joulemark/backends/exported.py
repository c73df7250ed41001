"""Whether an exported file computes the net that was made: it is run as its reader will, on real rows.

The rule is that of :mod:`joulemark.backends.fidelity`. A file of ``torch.export`` simulates integers as the net that
was made does, so that their rounding excuses nothing there.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from joulemark.backends.backend import Images
from joulemark.backends.eager import Eager
from joulemark.backends.exporting import to_onnx, to_pt2
from joulemark.backends.fidelity import ROWS, apart
from joulemark.nets.layers.layer import is_stochastic
from joulemark.nets.net import Net

Kind = Literal["onnx", "pt2"]
MOST_ELSEWHERE = 0.05
"""Share of the rows that may leave by another exit: on the edge of a threshold, rounding decides."""


KINDS: dict[str, Kind] = {".onnx": "onnx", ".pt2": "pt2"}
"""Ending of a file -> what is written into it."""


def written(kind: Kind, net: Net, images: Images, notes: Mapping[str, str] | None = None) -> tuple[bytes, float]:
    """``net`` as a file of that kind, and the largest difference of its outputs for ``images``, once it was run.

    Raises ``ValueError`` as :func:`joulemark.backends.exporting.to_onnx` and :func:`check` do.
    """
    data = (to_onnx if kind == "onnx" else to_pt2)(net, notes)
    return data, check(data, kind, net, images)


def check(data: bytes, kind: Kind, net: Net, images: Images) -> float:
    """Largest difference of any output of the file ``data`` from the net that was made.

    The first 64 ``images`` (rows, *input_shape), float32, are run; of a dynamic net one at a time, and a row that
    leaves by another exit is held against that exit. Raises ``ValueError`` if the file computes another net.
    """
    rows = images[:ROWS]
    module, plain = net.module(), net.module(formats=kind == "pt2")
    if is_stochastic(module):
        raise ValueError("the outputs of this net are random by design, so that no file of it can be checked")
    run = _opened(data, kind)
    eager = Eager().ready(module, torch.get_num_threads())
    made, rough = eager.exit_logits(rows), Eager().ready(plain, torch.get_num_threads()).exit_logits(rows)
    if not all(np.isfinite(logits).all() for logits in made):
        raise ValueError("the net that was made gives outputs that are not finite")
    if net.route is None:
        return _held(run(rows), made[0], rough[0])
    given = np.concatenate([run(row[None]) for row in rows])
    right, floats = np.stack(made), np.stack(rough)
    every = np.arange(len(rows))
    taken, nearest = _nearest(eager.run(rows), right), _nearest(given, right)
    elsewhere = [
        row for row in every[taken != nearest]
        if np.greater(*apart(given[row], right[taken[row], row], floats[taken[row], row], "fp32"))
    ]  # fmt: skip
    if len(elsewhere) > MOST_ELSEWHERE * len(rows):
        raise ValueError(
            f"the exported file computes another net than the one that was made: {len(elsewhere)} of {len(rows)} rows "
            "leave by another exit"
        )
    return _held(given, right[nearest, every], floats[nearest, every])


def _held(given: NDArray[Any], made: NDArray[Any], rough: NDArray[Any]) -> float:
    """The largest difference, once it was within what is allowed."""
    if given.shape != made.shape:
        raise ValueError(f"the exported file gives outputs of shape {given.shape}, and the net {made.shape}")
    parted, allowed = apart(given, made, rough, "fp32")
    if not parted <= allowed:
        raise ValueError(
            f"the exported file computes another net than the one that was made: its outputs are {parted:.2g} off "
            f"(root mean square, {allowed:.2g} allowed)"
        )
    return float(np.abs(given - made).max())


def _nearest(given: NDArray[Any], exits: NDArray[Any]) -> NDArray[np.int64]:
    """Number of the exit whose outputs are nearest, row by row; ``exits`` is (exits, rows, classes)."""
    nearest: NDArray[np.int64] = np.square(exits - given).sum(2).argmin(0)
    return nearest


def _opened(data: bytes, kind: Kind) -> Callable[[Images], NDArray[Any]]:
    """The file, ready to run."""
    if kind == "onnx":
        from joulemark.backends.onnx import OnnxRuntime

        return OnnxRuntime().ready(data, threads=1).run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on opening what it has written
        module = torch.export.load(io.BytesIO(data)).module()

    def run(images: Images) -> NDArray[Any]:
        with torch.no_grad():
            output: NDArray[Any] = module(torch.from_numpy(images)).numpy()
        return output

    return run
