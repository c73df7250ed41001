"""The pickled batches of CIFAR-10's "python" layout, without running what a pickle may ask for.

A pickle names functions for the reader to call. Here the few names that these files need stand for inert classes of
ours, which only keep what they are given; every other name is refused. A pickle may also ask for attributes to be set
on what it named, and the stand-ins outlive the file: they refuse to be changed.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Bytes (n, values) and labels (n,)."""


def load_batch(content: bytes, name: str) -> Rows:
    """Rows and labels of a batch. ``ValueError``, with ``name``, for anything else."""
    try:
        found = _Batch(io.BytesIO(content), encoding="latin1").load()
    except _Refused as error:
        raise ValueError(f"{name} is no batch of CIFAR-10: it asks for {error}, which is refused") from error
    except Exception as error:  # a broken pickle raises nearly anything
        raise ValueError(f"{name} is damaged or no pickle: {type(error).__name__}: {error}") from error
    data, labels = (found.get("data"), found.get("labels")) if isinstance(found, dict) else (None, None)
    if not isinstance(data, _Array) or data.rows is None:
        raise ValueError(f"{name} is no batch of CIFAR-10: it holds no array of bytes named 'data'")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 255 for label in labels):
        raise ValueError(f"{name} is no batch of CIFAR-10: it holds no list of numbers named 'labels'")
    if len(labels) != len(data.rows):
        raise ValueError(f"{name} holds {len(data.rows)} images and {len(labels)} labels")
    return data.rows, np.array(labels, np.int64)


class _Refused(Exception):  # noqa: N818 - it names what was refused
    """The pickle wants a name that is not needed."""


class _Frozen(type):
    """Type of the stand-ins: classes whose attributes cannot be set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise _Refused(f"a change of {cls.__name__}.{name}")


class _Kind(metaclass=_Frozen):
    """Stands for ``numpy.dtype``: only unsigned bytes."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in ("u1", "|u1"):
            raise _Refused(f"an array of {code!r}")

    def __setstate__(self, state: object) -> None:
        """Byte order, alignment and the like: bytes have none."""


class _Array(metaclass=_Frozen):
    """Stands for ``numpy.ndarray`` and for the function that makes an empty one."""

    def __init__(self, *_: object) -> None:
        self.rows: NDArray[np.uint8] | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], object, bool, bytes | str]) -> None:
        _, shape, kind, by_column, values = state
        content = values.encode("latin1") if isinstance(values, str) else bytes(values)
        if not isinstance(kind, _Kind) or len(shape) != 2 or math.prod(shape) != len(content):
            raise _Refused(f"an array of shape {shape} from {len(content)} bytes")
        self.rows = np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_column else "C")


class _Bytes(metaclass=_Frozen):
    """Stands for ``_codecs.encode``: Python 3 writes bytes as text and its encoding at protocol 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise _Refused(f"text in {encoding!r}")
        return text.encode("latin1")


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Kind,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _Bytes,
}


class _Batch(pickle.Unpickler):
    """Finds the stand-ins and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> type:
        if (module_name, global_name) not in STAND_INS:
            raise _Refused(f"{module_name}.{global_name}")
        return STAND_INS[module_name, global_name]
