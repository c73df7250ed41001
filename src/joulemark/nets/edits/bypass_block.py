"""Take a residual block out: nothing is left of it but its shortcut."""

from __future__ import annotations

from torch import nn

from joulemark.nets.edits.edit import put_in_place


def bypass_block(module: nn.Module, *, block: str) -> None:
    """Leave nothing of a residual block but its shortcut."""
    found = dict(module.named_modules()).get(block)
    shortcut = getattr(found, "bypassed", None)
    if found is None or shortcut is None:
        raise ValueError(f"bypass_block: {block!r} is no residual block that can be bypassed")
    put_in_place(module, block, shortcut())
