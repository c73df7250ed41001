"""Number formats: which kind and how many bits the weights, activations and gradients of a layer have.

A format holds everything that lowering needs, so that a reloaded net is quantised to the same integers on every
backend. What a kind of format means stands in its file in ``nets/layers``, found by the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from torch import nn

from joulemark.nets.edits.edit import put_in_place
from joulemark.nets.layers.layer import LayerKind
from joulemark.record import Record
from joulemark.vocabulary import look_up


class Format(Record, frozen=True, kw_only=True):
    """Number format of one layer. ``None`` bits mean float32; ``ValueError`` for bits that are not 1 to 32.

    ``kind`` is a kind of layer in the vocabulary, and ``options`` are its own. Of integers: activations have one scale
    over [``low``, ``high``], the range seen in calibration widened to hold zero. ``output`` is the range of what the
    layer puts out, for one whose outputs must be integers too; a range from 0 is a ReLU as well. What is unset is not
    written, so that nets saved before it was thought of keep their hash. ``gradient_bits`` is reserved for training in
    low precision: no backend reads it, and running a net does not depend on it.
    """

    kind: str = "int"
    weight_bits: int | None = None
    activation_bits: int | None = None
    gradient_bits: int | None = None
    low: float = 0.0
    high: float = 0.0
    output: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits", "gradient_bits"):
            bits = getattr(self, name)
            if bits is not None and not (type(bits) is int and 1 <= bits <= 32):
                raise ValueError(f"{name} are 1 to 32 or None, not {bits!r}")


def layer_kind(name: str) -> LayerKind:
    """The kind of layer of that name. ``ValueError`` for an unknown one, or for something else of that name."""
    kind = look_up("kind of layer", name)
    if not isinstance(kind, LayerKind):
        raise ValueError(f"the kind of layer {name!r} is a {type(kind).__name__}, not a LayerKind")
    return kind


def apply_formats(module: nn.Module, formats: Mapping[str, Format], *, training: bool = False) -> None:
    """Replace each named layer, in place, by the form that its format gives it: in ``training``, or as it runs.

    ``ValueError`` where the net has no such layer, or the kind cannot do it.
    """
    layers = dict(module.named_modules())
    for path, form in formats.items():
        if path not in layers:
            raise ValueError(f"a format is for layer {path!r}, which the net does not have")
        kind = layer_kind(form.kind)
        try:
            made = (kind.trained if training else kind.deployed)(layers[path], form)
        except ValueError as error:
            raise ValueError(f"layer {path!r} cannot have the format {form.kind!r}: {error}") from error
        put_in_place(module, path, made)


def learned_formats(module: nn.Module, formats: Mapping[str, Format]) -> dict[str, Format]:
    """The formats after training, where ``module`` holds layers in their trained form."""
    return {path: layer_kind(form.kind).learned(module.get_submodule(path), form) for path, form in formats.items()}
