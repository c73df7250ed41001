"""The contract of a router: which rows go on after a segment, which leave, and which jump.

A router sees what the segment hands on and its logits, never labels. It is part of the segment, so it is exported,
timed and counted with it, and its parameters are part of the net's state (``routers.<name of the stage>.``). Routers
stand in files of their own and are found by the vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from joulemark.vocabulary import look_up

Carry = dict[str, Tensor]
"""What rows take with them: tensors by name, rows first. ``features`` is what the next stage computes on."""


class Router(nn.Module):
    """Says of each row where it goes from here. A subclass takes the threshold and options, and writes ``forward``."""

    needs_logits = True  # False: it may stand after a segment that has none

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        """One entry a row: booleans (on to the next segment, or out) or int64 (index of a segment, or ``EXIT``).

        A row may be sent to any later segment, never back; out only where there are logits. All ways to a segment must
        write the same entries of the carry.
        """
        raise NotImplementedError(f"{type(self).__name__} is a router without forward: say where each row goes")


def router(name: str, threshold: float, options: dict[str, Any]) -> Router:
    """The router of an exit. ``ValueError`` for an unknown name or options that it does not take."""
    make = look_up("router", name)
    try:
        made = make(threshold, **options)
    except Exception as error:  # a router is anybody's
        raise ValueError(f"router {name!r} does not take {options}: {error}") from error
    if not isinstance(made, Router):
        raise ValueError(f"router {name!r} gave {type(made).__name__}, which is no Router")
    return made
