"""Nets that a user brings: called once a process, copied for every use, known by a label and never by an import path.

A saved net holds the label of the task file it is of ("user/mine") and the digest of the code that built it. Nothing in
a file makes anything be imported: only the command line and :func:`joulemark.vocabulary.register` do.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from joulemark.vocabulary import look_up, names

PREFIX = "user/"
"""Labels of what users bring begin so."""
PICKLES = (".pt", ".pth", ".pkl", ".ckpt", ".bin")
"""Endings of files that may be pickles, which can run any code when they are opened."""
WITNESS_ROWS = 4
WITNESS_TOLERANCE = 1e-3
"""Largest difference of two answers, over the root mean square of the first, by which they are of one net."""

_sources: dict[str, str] = {}
_files: dict[str, str] = {}  # label -> digest of the file that the net is read from
_given: dict[str, tuple[Any, Any]] = {}  # label -> the function, and what it gave


def is_own(builder: str) -> bool:
    """Whether a builder is the label of a user's net."""
    return builder.startswith(PREFIX)


def given_net(label: str) -> Any:
    """What the user's function of that label gives, which is called once a process; of an ONNX file's path its module.

    ``ValueError`` in one sentence if it raises, or if the ONNX file cannot be read.
    """
    make = look_up("builder", label)
    if label not in _given or _given[label][0] is not make:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # our output may be JSON for a script
                _given[label] = (make, make())
        except (Exception, SystemExit) as error:  # the user's code
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ValueError(f"net() of {_file(label)} raised {told}") from error
        _files.pop(label, None)
    given = _given[label][1]
    if isinstance(given, str | Path) and Path(given).suffix == ".onnx":
        path = _seen_from(make, Path(given))
        # By the vocabulary: few nets come so, and only they are made by its code.
        _given[label] = (make, look_up("net from a file", "onnx")(path))
        _files[label] = hashlib.sha256(path.read_bytes()).hexdigest()
    elif label in _files:
        look_up("net from a file", "onnx")  # whoever listens is told that its code made this net
    return _given[label][1]


def file_digest(label: str) -> str:
    """Digest of the file that a user's net was read from, whose graph is code as well; empty if it was built."""
    return _files.get(label, "")


def _seen_from(make: Any, path: Path) -> Path:
    """A path that the user's function gave: beside the file that it stands in, or seen from the working folder."""
    beside = Path(getattr(make, "__globals__", {}).get("__file__", "")).parent / path
    return beside if beside.is_file() else path


def own_structure(label: str, source: str | None = None) -> nn.Module:
    """A copy of a user's module; ``ValueError`` if nobody named its task file, or what is there is no module."""
    if label not in names("builder"):
        of = f" (source {source[:12]})" if source else ""
        file = f"{label.removeprefix(PREFIX)}.py"
        plain = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", file)
        raise ValueError(f"the net was built by the task file {file}{of}: add --task {file if plain else 'FILE'}")
    module = given_net(label)
    if not isinstance(module, nn.Module):
        raise ValueError(f"net() of {_file(label)} gave a {type(module).__name__}, not a torch module")
    try:
        return copy.deepcopy(module)
    except Exception as error:  # hooks, views of tensors, open files: a module may hold anything
        raise ValueError(
            f"the module that net() of {_file(label)} gave cannot be copied ({type(error).__name__}: {error}): hold "
            "nothing in it but layers, parameters, buffers and plain values"
        ) from error


def remember_source(label: str, source: str) -> None:
    """Say what the digest of the code that builds a user's net is: of his file and of what it imports of his own."""
    _sources[label] = source


def source_of(label: str) -> str | None:
    """That digest, with that of a file that the net was read from; ``None`` if nobody opened the task file here."""
    source, file = _sources.get(label), _files.get(label)
    return source if source is None or file is None else hashlib.sha256(f"{source} {file}".encode()).hexdigest()[:16]


def seeded_rows(input_shape: tuple[int, ...]) -> torch.Tensor:
    """The rows that a witness is of: normal noise, the same every time."""
    return torch.randn(WITNESS_ROWS, *input_shape, generator=torch.Generator().manual_seed(0))


def answers(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[tuple[float, ...], ...] | None:
    """What a net answers the seeded rows; ``None`` if it cannot, or not by finite numbers: noise is no real input."""
    try:
        with torch.no_grad():
            logits = getattr(module, "run", module)(seeded_rows(input_shape))
    except Exception:  # noqa: BLE001 - the user's code, on inputs that he never meant it for
        return None
    if not bool(torch.isfinite(logits).all()):
        return None
    return tuple(tuple(row) for row in logits.flatten(1).double().tolist())


def refuse_other_answers(
    label: str, witness: tuple[tuple[float, ...], ...], found: tuple[tuple[float, ...], ...] | None
) -> None:
    """Raise ``ValueError`` if a net whose source was changed is another one now."""
    before, now = (torch.tensor(one or (), dtype=torch.float64) for one in (witness, found))
    size = float(before.square().mean().sqrt()) or 1.0
    apart = float((before - now).abs().max()) / size if before.shape == now.shape else float("inf")
    if not apart <= WITNESS_TOLERANCE:
        raise ValueError(
            f"{_file(label)} was changed since this net was saved, and builds another one now (answers differ by "
            f"{apart:.2g} of their size): bring the old file back, or make the net anew"
        )


def _file(label: str) -> str:
    return f"{label.removeprefix(PREFIX)}.py"
