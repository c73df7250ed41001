"""A net with exits, or a cascade, for one row at a time: what lies behind the exit that the row takes is not computed.

An exported file holds one graph, and a graph cannot let some rows of a batch leave. With a batch of one it can: each
exit is a branch (``torch.cond``; in ONNX an ``If``), and the rest of the net stands inside the branch that goes on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from joulemark.nets.segments import EXIT, InnerSegment, Segments

INSTEAD = "save it as .safetensors and run it with Joulemark"


class OneRow(nn.Module):
    """Maps (1, ...) to the logits of the exit that the row takes, as ``Segments.run`` does for any number of rows.

    Raises ``ValueError`` for a route that branches cannot follow: one that jumps over segments.
    """

    def __init__(self, net: Segments, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.segments = nn.ModuleList(net.segments())
        _refuse_jumps(net, input_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (1, classes)."""
        return self._from(0, {"features": x})

    def _from(self, number: int, carry: dict[str, Tensor]) -> Tensor:
        """The answer of the segments from ``number`` on."""
        segment: Any = self.segments[number]
        carry, logits, onward = segment(carry)
        if number + 1 == len(self.segments):
            return logits  # type: ignore[no-any-return]
        if logits is None:  # nobody can leave here
            return self._from(number + 1, carry)
        names = sorted(carry)

        def leave(logits: Tensor, *values: Tensor) -> Tensor:
            return logits.clone()  # a branch may not return what it was given

        def go_on(logits: Tensor, *values: Tensor) -> Tensor:
            return self._from(number + 1, dict(zip(names, values, strict=True)))

        operands = (logits, *(carry[name] for name in names))
        answer: Tensor = torch.cond(onward[0] == EXIT, leave, go_on, operands)
        return answer


def _refuse_jumps(net: Segments, input_shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless every router only says "on" or "out"."""
    if any(isinstance(segment, InnerSegment) for segment in net.segments()):
        raise ValueError(f"a part of this cascade has exits of its own, which one file cannot hold: {INSTEAD}")
    jumping: list[str] = []
    hooks = [
        router.register_forward_hook(
            lambda _, inputs, onward, name=name: jumping.append(name) if onward.dtype != torch.bool else None
        )
        for name, router in net.routers.items()
    ]
    with torch.no_grad():
        net(torch.zeros(1, *input_shape))
    for hook in hooks:
        hook.remove()
    if jumping:
        raise ValueError(
            f"the router after {jumping[0]!r} sends rows past segments, which branches of one file cannot follow: "
            f"{INSTEAD}"
        )
