"""Number formats: which kind and how many bits the weights, activations and gradients of a layer have.

A format holds everything that lowering needs, so that a reloaded net is quantised to the same integers on every
backend. What a kind of format means stands in its file in ``nets/layers``, found by the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from joulemark.nets.edits.edit import put_in_place
from joulemark.nets.header import Format
from joulemark.nets.layers.layer import LayerKind
from joulemark.vocabulary import look_up


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
        except Exception as error:  # a kind of layer is anybody's
            raise ValueError(f"layer {path!r} cannot have the format {form.kind!r}: {error}") from error
        put_in_place(module, path, made)


def learned_formats(module: nn.Module, formats: Mapping[str, Format]) -> dict[str, Format]:
    """The formats after training, where ``module`` holds layers in their trained form."""
    return {path: layer_kind(form.kind).learned(module.get_submodule(path), form) for path, form in formats.items()}
