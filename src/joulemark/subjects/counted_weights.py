"""The weights of any torch module: those it computes with, wherever they are kept.

Pruning by masks and parametrizations keep an original and compute the weight from it whenever the net runs; a frozen
script keeps its weights as constants of its graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

ORIGINAL, MASK = "_orig", "_mask"
"""Ends of the names under which ``torch.nn.utils.prune`` keeps a weight and its mask."""


def parameters_and_nonzeros(module: nn.Module) -> tuple[int, int]:
    """How many numbers a module learned, and how many of those that it computes with are not zero.

    Raises ``ValueError`` for weights without values (device meta).

    >>> from torch.nn.utils import prune
    >>> parameters_and_nonzeros(prune.l1_unstructured(nn.Linear(4, 2), "weight", amount=0.5))
    (10, 6)
    """
    with torch.no_grad():
        tensors = list(_kept_and_used(module))
    if any(tensor.is_meta for pair in tensors for tensor in pair):
        raise ValueError("has weights without values (device meta): build it on the processor")
    return sum(kept.numel() for kept, _ in tensors), sum(int(used.count_nonzero()) for _, used in tensors)


def _kept_and_used(module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight as it is kept and as it is used; one that several layers share comes once."""
    seen: set[int] = set()
    for layer in module.modules():
        if isinstance(layer, parametrize.ParametrizationList):
            continue  # its layer says it
        for name, kept in layer.named_parameters(recurse=False):
            if id(kept) not in seen:
                seen.add(id(kept))
                mask = getattr(layer, name.removesuffix(ORIGINAL) + MASK, None) if name.endswith(ORIGINAL) else None
                yield kept, kept if mask is None else kept * mask
        if parametrize.is_parametrized(layer):
            for name, list_ in layer.parametrizations.items():  # type: ignore[union-attr, operator]
                originals = [one for one in list_.parameters(recurse=False) if id(one) not in seen]
                seen |= {id(one) for one in originals}
                if originals:
                    used = getattr(layer, name)
                    yield originals[0], used
                    yield from ((one, one.new_zeros(0)) for one in originals[1:])  # used in the one above
    if isinstance(module, torch.jit.ScriptModule) and hasattr(module, "inlined_graph"):
        yield from ((one, one) for one in _constants(module))


def _constants(script: torch.jit.ScriptModule) -> Iterator[Tensor]:
    """Tensors with fractions in the graph of a script. A number alone is a setting, not a weight."""
    graph: Any = script.inlined_graph  # held: its nodes end with it
    for node in graph.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            tensor = node.t("value")
            if tensor.is_floating_point() and tensor.dim():
                yield tensor
