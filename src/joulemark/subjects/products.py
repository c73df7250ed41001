"""Which operands an ONNX operator multiplies, and how: of ONNX, and of ONNX Runtime's own domain.

Integer and fused operators hold their operands in other places than ``Conv`` and ``Gemm`` do, and quantised operands
have a zero of their own. What cannot be said here is unknown, never nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[Any]


class Form(NamedTuple):
    """How an operator multiplies ("conv", "conv_transpose" or "product"), and where its operands stand.

    ``zeros``: where the integers stand that mean zero.
    """

    how: str
    x: int = 0
    weight: int = 1
    zeros: tuple[int | None, int | None] = (None, None)
    integers: bool = False  # x is given in floats and rounded to 8 bits inside


FORMS = {
    "Conv": Form("conv"),
    "FusedConv": Form("conv"),
    "ConvInteger": Form("conv", zeros=(2, 3)),
    "QLinearConv": Form("conv", weight=3, zeros=(2, 5)),
    "ConvTranspose": Form("conv_transpose"),
    "Gemm": Form("product"),
    "MatMul": Form("product"),
    "FusedGemm": Form("product"),
    "FusedMatMul": Form("product"),
    "MatMulInteger": Form("product", zeros=(2, 3)),
    "MatMulIntegerToFloat": Form("product", zeros=(4, 5)),
    "DynamicQuantizeMatMul": Form("product", zeros=(None, 3), integers=True),
    "QLinearMatMul": Form("product", weight=3, zeros=(2, 5)),
    "QGemm": Form("product", weight=3, zeros=(2, 5)),
}
"""ONNX operators, and the contributed ones of ONNX Runtime (docs/ContribOperators.md), by the order of their inputs."""

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


class Operands(NamedTuple):
    """Two arrays to be multiplied; zeros in them are zeros, whatever integers stand for them."""

    x: Array
    weight: Array
    x_bits: int
    weight_bits: int


def operands(form: Form, inputs: Sequence[Array | None], *, turned: bool = False) -> Operands | None:
    """The operands of a node by its inputs, ``None`` for one that is left out; ``None`` if an operand is not known.

    ``turned``: the weight is transposed before the product.
    """
    x, weight = (inputs[place] if place < len(inputs) else None for place in (form.x, form.weight))
    if x is None or weight is None:
        return None
    zeros = [inputs[place] if place is not None and place < len(inputs) else None for place in form.zeros]
    x_bits = 8 if form.integers else bits(x)
    by_rows = turned or form.how != "product"
    return Operands(_from_zero(x, zeros[0], True), _from_zero(weight, zeros[1], by_rows), x_bits, bits(weight))


def bits(array: Array) -> int:
    """Bits of one number.

    >>> bits(np.ones(2, np.float16))
    16
    """
    packed = re.fullmatch(r"u?int([24])|float(4)e2m1fn", array.dtype.name)  # which numpy holds a byte each
    return int(packed[1] or packed[2]) if packed else 8 * array.dtype.itemsize


def _from_zero(array: Array, zero: Array | None, by_rows: bool) -> Array:
    """Integers less the one that means zero, which may be one for each filter (row) or column."""
    if zero is None:
        return array
    if zero.ndim == 1 and zero.size > 1 and by_rows:
        zero = zero.reshape(-1, *[1] * (array.ndim - 1))
    difference: Array = array.astype(np.int64) - zero.astype(np.int64)
    return difference


def given(node: Any) -> dict[str, Any]:
    """The attributes of a node by their names."""
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def turned(x: Array, weight: Array, attributes: Mapping[str, Any]) -> tuple[Array, Array]:
    """Operands of a product as they are multiplied: some operators transpose them first."""
    if attributes.get("transA"):
        x = x.swapaxes(-1, -2)
    if attributes.get("transB"):
        weight = weight.swapaxes(-1, -2)
    return x, weight


def recurrent_macs(x: Array, of_input: Array, of_state: Array, lengths: Array | None) -> int:
    """MACs of an LSTM, GRU or RNN.

    ``x`` is (steps, rows, in), the weights are (directions, gates, in) and (directions, gates, hidden). Only the steps
    that ``lengths`` leaves are counted.
    """
    steps = x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())
    return steps * (of_input.size + of_state.size)


def einsum_macs(equation: str, arrays: Sequence[Array]) -> int:
    """MACs of an Einsum: of two operands at a time, from the left; 0 where nothing is summed over.

    >>> einsum_macs("bi,oi->bo", [np.ones((2, 3)), np.ones((4, 3))])
    24
    >>> einsum_macs("...i,...i->...i", [np.ones((2, 3)), np.ones((2, 3))])  # an elementwise product
    0
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    named = []
    for term, array in zip(terms, arrays, strict=True):
        before, dots, after = term.partition("...")
        letters = [*before, *(f"...{-place}" for place in range(array.ndim - len(before) - len(after), 0, -1) if dots)]
        letters += [*after]
        named.append(letters)
        for letter, size in zip(letters, array.shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size)
    every = [letter for letters in named for letter in letters]
    spread = [letter for letter in sizes if letter.startswith("...")]
    if arrow:
        wanted = {*right.replace("...", ""), *(spread if "..." in right else [])}
    else:
        wanted = {letter for letter in sizes if every.count(letter) == 1 or letter in spread}
    macs, held = 0, set(named[0])
    for place, letters in enumerate(named[1:], start=1):
        both = held | set(letters)
        needed = wanted.union(*named[place + 1 :])
        if both - needed:
            macs += prod(sizes[letter] for letter in both)
        held = both & needed
    return macs
