"""Pad with fewer channels: the zeros that a residual block's shortcut puts around what it passes on."""

from __future__ import annotations

from torch import nn


def padded_channels(layer: nn.Module) -> tuple[int, int] | None:
    """Channels of zeros in front of and behind what a residual block's shortcut passes on; ``None`` if it pads none.

    It says that it does by ``pads_channels``, and the numbers as ``padding`` (:mod:`joulemark.nets.builders.resnet`).
    """
    before, after = layer.padding if getattr(layer, "pads_channels", False) else (0, 0)  # type: ignore[misc]
    return (before, after) if before or after else None


def pad_channels(module: nn.Module, *, block: str, before: int, after: int) -> None:
    """Let the shortcut of ``block`` pad so many channels of zeros, at most as many as it did.

    Raises ``ValueError`` for a block that pads none, and for numbers that are negative or greater than its own.
    """
    found = dict(module.named_modules()).get(block)
    now = padded_channels(found) if found is not None else None
    if found is None or now is None:
        raise ValueError(f"pad_channels: {block!r} is no residual block whose shortcut pads channels")
    if not all(type(new) is int and 0 <= new <= old for new, old in zip((before, after), now, strict=True)):
        raise ValueError(
            f"pad_channels: {block!r} pads {now[0]} and {now[1]} channels, and {before}, {after} are not fewer"
        )
    found.padding = (before, after)
