"""Whether cutting channels that are zero changes what a net puts out: tried, on a net that has them zero.

What reads a channel of zeros gets nothing from it, so such a channel can go, unless something makes more of it than
zero (a sigmoid, a mean over channels, a norm over neighbours), or counts on how many there are.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from joulemark.nets.axes import NORMS, is_product
from joulemark.nets.edits.edit import replay
from joulemark.nets.groups import Group, cutting_edits
from joulemark.nets.reach import tensors_of

ROWS = 2
"""Random inputs of each size on which a group is tried."""
SCALES = (1.0, 16.0, 255.0)
TOLERANCE = 1e-4
"""Outputs may differ by this share of what they vary by from input to input: sums are taken in another order."""
ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6}
"""And by this share of the largest, which is what sums of some hundred terms are rounded by (ours)."""
TOLD = 1e-3
"""Up to this share of what outputs vary by, rounding leaves no doubt."""
TINY = 0.1
"""Scales that are all below this are tried at about 1: nets begin with blocks that are scaled to almost nothing."""

CHANGES = "cutting channels that are zero would change the outputs"
FAILS = "the net does not run with fewer of its channels"


def judged(groups: Sequence[Group], module: nn.Module, input_shape: tuple[int, ...]) -> list[str | None]:
    """For each group why its channels must stay, or ``None`` if they may go.

    Tried together, and in halves where that fails, since a large net takes a while.
    """
    lively = _lively(module)
    return _judged(groups, lively, random_rows(input_shape))


def random_rows(input_shape: tuple[int, ...]) -> Tensor:
    """Random inputs of several sizes, and some all positive: what a norm over channels does depends on their size.

    Standardised images are of deviation 1, pixels go to 255.
    """
    random = torch.Generator().manual_seed(0)
    sizes = [scale * torch.randn(ROWS, *input_shape, generator=random) for scale in SCALES]
    return torch.cat([*sizes, max(SCALES) * torch.rand(ROWS, *input_shape, generator=random)])


def puts_out_numbers(module: nn.Module, rows: Tensor) -> bool:
    """Whether a net runs on some rows, and what it puts out is finite."""
    outputs = _outputs(module, rows)
    return outputs is not None and all(bool(one.isfinite().all()) for one in outputs)


def _judged(groups: Sequence[Group], module: nn.Module, rows: Tensor) -> list[str | None]:
    why = _why_not(groups, module, rows) if groups else None
    if why is None or len(groups) == 1:
        return [why] * len(groups)
    middle = len(groups) // 2
    return [*_judged(groups[:middle], module, rows), *_judged(groups[middle:], module, rows)]


def _why_not(groups: Sequence[Group], module: nn.Module, rows: Tensor) -> str | None:
    """Tried for the first channel alone and for every second one: halves of a gated unit stand an even cut only."""
    for kept in (lambda channels: range(1, channels), lambda channels: range(0, channels, 2)):
        cuts = [(group, kept(group.channels)) for group in groups]
        zeroed = _zeroed(module, cuts)
        cut = copy.deepcopy(zeroed)
        try:
            replay(cut, cutting_edits(cut, cuts))
        except ValueError:
            return FAILS
        if not puts_out_numbers(zeroed, rows[:ROWS]):
            return CHANGES
        if _outputs(cut, rows[:ROWS]) is None:
            return FAILS
        if not all(_same_on(zeroed, cut, some) for some in rows.split(ROWS)):
            return CHANGES
    return None


def _zeroed(module: nn.Module, cuts: Sequence[tuple[Group, Collection[int]]]) -> nn.Module:
    """A copy in which everything that makes or scales the channels that are not kept is zero."""
    zeroed = copy.deepcopy(module)
    tensors = tensors_of(zeroed)
    with torch.no_grad():
        for group, kept in cuts:
            for member in group.members:
                for name, dimension in member.tensors.items():
                    if member.axis != "inputs" and tensors.get(name) is not None:
                        tensors[name].movedim(dimension, 0)[member.places_without(kept)] = 0.0
    return zeroed


def _lively(module: nn.Module) -> nn.Module:
    """A copy in which no scale and no product is so small that what goes through it could not be seen."""
    lively = copy.deepcopy(module)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in lively.modules():
            held = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
            for name, tensor in held:
                if not tensor.is_floating_point() or (isinstance(layer, NORMS) and name == "bias"):
                    continue
                if is_product(layer):
                    if name == "weight":
                        _amplify(tensor, random)
                elif sum(size > 1 for size in tensor.shape) <= 1 and (not tensor.numel() or tensor.abs().max() < TINY):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=random))
    return lively


def _amplify(weight: Tensor, random: torch.Generator) -> None:
    """Let a product make of inputs of deviation 1 outputs of deviation 1, if it makes far less of them."""
    if not weight.any():
        weight.copy_(torch.randn(weight.shape, generator=random))
    gain = float(weight.square().mean().sqrt()) * max(1, weight[0].numel()) ** 0.5
    if gain < TINY or not weight.any():
        weight.div_(gain)


def _same_on(zeroed: nn.Module, cut: nn.Module, rows: Tensor) -> bool:
    """Whether both give the same for some rows; computed again in float64 where float32 cannot tell."""
    same: bool | None = None
    for exact in (torch.float32, torch.float64):
        before, after = _outputs(zeroed, rows, exact), _outputs(cut, rows, exact)
        if before is None or after is None or len(before) != len(after):
            break  # it computes in floats of its own
        same = all(_equal(one, other) for one, other in zip(before, after, strict=True))
        if all(map(_is_told, before)):
            break
    return bool(same)


def _outputs(module: nn.Module, rows: Tensor, exact: torch.dtype = torch.float32) -> list[Tensor] | None:
    """What a net puts out, computed in numbers of this type; ``None`` if it does not run so."""
    try:
        with torch.no_grad():
            answer = copy.deepcopy(module).to(exact)(rows.to(exact))
    except Exception:  # noqa: BLE001 (a net is anybody's code, and raises what it likes for sizes it does not know)
        return None
    return [one for one in tree_leaves(answer) if isinstance(one, Tensor)]


def _equal(before: Tensor, after: Tensor) -> bool:
    """Whether outputs are equal, beside what they vary by over inputs of one size: no offset hides a difference."""
    if before.shape != after.shape or not before.is_floating_point():
        return before.shape == after.shape and bool(before.equal(after))
    if not before.isfinite().all():
        return True  # it overflows with the channels, too: that tells nothing
    allowed = TOLERANCE * _variation(before) + _rounding(before)
    return bool(((before - after).abs() <= allowed).all())


def _is_told(before: Tensor) -> bool:
    """Whether rounding is small beside what the outputs vary by."""
    return not before.is_floating_point() or _rounding(before) <= TOLD * _variation(before)


def _variation(outputs: Tensor) -> float:
    if not outputs.numel():
        return 0.0
    flat = outputs.reshape(len(outputs) if outputs.dim() else 1, -1)
    return float((flat - flat.mean(0)).abs().max())


def _rounding(outputs: Tensor) -> float:
    share = ROUNDING.get(outputs.dtype, max(ROUNDING.values()))
    return share * float(outputs.abs().max()) if outputs.numel() else 0.0
