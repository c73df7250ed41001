"""Pool later: move a pooling behind a later stage."""

from __future__ import annotations

from torch import nn

from joulemark.nets.edits.edit import put_in_place


def delay(module: nn.Module, *, layer: str, stage: str) -> None:
    """Take a pooling from where it stands and put it at the end of a later stage, so that what is between sees more."""
    layers = dict(module.named_modules())
    pool, place = layers.get(layer), layers.get(stage)
    if not isinstance(pool, nn.MaxPool2d | nn.AvgPool2d) or not isinstance(place, nn.Sequential):
        raise ValueError(f"delay: {layer!r} and {stage!r} are no pooling and no stage of the net")
    if hasattr(place, "delayed"):
        raise ValueError(f"delay: a pooling was moved to {stage!r} before")
    put_in_place(module, layer, nn.Identity())
    place.add_module("delayed", pool)
