"""Whether cutting channels that are zero changes what a net puts out: tried, on a net that has them zero.

What reads a channel of zeros gets nothing from it, so such a channel can go, unless something makes more of it than
zero (a sigmoid, a mean over channels, a norm over neighbours), or counts on how many there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from joulemark.nets.answers import NetFailsError, answer, copied
from joulemark.nets.axes import INPUTS, OUTPUTS, is_product
from joulemark.nets.edits.edit import replay
from joulemark.nets.groups import Group, Member, cutting_edits
from joulemark.nets.probe import tensors_of

ROWS = 2
"""Random inputs of each size on which a group is tried."""
SCALES = (1.0, 16.0, 255.0)
TOLERANCE = 1e-4
"""Outputs may differ by this share of what they vary by from input to input: sums are taken in another order."""
LEAST = 1e-2
"""An output that happens to vary by less than this share of what the others do is taken to vary by that."""
ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6}
"""And by this share of the largest, which is what sums of some hundred terms are rounded by (ours)."""
TOLD = 1e-3
"""Up to this share of what outputs vary by, rounding leaves no doubt."""
TINY = 0.1
"""Scales, offsets and products below this are tried at about 1: nets begin with what is zero and will not stay so."""

CHANGES = "cutting channels that are zero would change the outputs"
FAILS = "the net does not run with fewer of its channels"

Cuts = Sequence[tuple[Group, Collection[int]]]
"""Groups, and the channels of each that are kept."""


def judged(groups: Sequence[Group], module: nn.Module, input_shape: tuple[int, ...]) -> list[str | None]:
    """For each group why its channels must stay, or ``None`` if they may go.

    Tried together, and in halves where that fails, since a large net takes a while; what is left of the halves is tried
    together again, and one by one if that fails.
    """
    trial = _Trial(lively(module), random_rows(input_shape))
    found = _by_halves(groups, trial)
    left = [group for group, why in zip(groups, found, strict=True) if why is None]
    if len(left) in (0, len(groups)) or trial.why_not(left) is None:
        return found
    believed: list[Group] = []
    for place, group in enumerate(groups):
        if found[place] is None:
            found[place] = trial.why_not([*believed, group])
            believed += [group] if found[place] is None else []
    return found


def makes_of_zero(group: Group, member: Member, module: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether a tensor of the net's own makes something of channels that are zero otherwise, as an offset does.

    A scale does not. Tried with it at lively values and at zero, while products make nothing and norms add nothing.
    """
    products = [one for one in group.members if one.axis == OUTPUTS and is_product(module.get_submodule(one.layer))]
    norms = [one for one in group.members if one.axis == OUTPUTS and one not in products]
    without = _zeroed(lively(module), [(group._replace(members=tuple(products)), ())])
    tensors = tensors_of(without)
    for name in (f"{norm.layer}.{end}" for norm in norms for end in ("bias", "running_mean")):
        if tensors.get(name) is not None:
            tensors[name].data.zero_()
    own = group._replace(members=(member,))
    return not _compared(without, _zeroed(without, [(own, ())]), random_rows(input_shape)[:ROWS])[1]


def random_rows(input_shape: tuple[int, ...]) -> Tensor:
    """Random inputs of several sizes, and some all positive: what a norm over channels does depends on their size.

    Standardised images are of deviation 1, pixels go to 255.
    """
    random = torch.Generator().manual_seed(0)
    sizes = [scale * torch.randn(ROWS, *input_shape, generator=random) for scale in SCALES]
    return torch.cat([*sizes, max(SCALES) * torch.rand(ROWS, *input_shape, generator=random)])


def lively(module: nn.Module) -> nn.Module:
    """A copy in which nothing is at a value that hides what goes through it, as a scale or an offset of zero.

    Own tensors of the net, biases and the means of norms that are next to nothing are drawn anew, products that make
    next to nothing of their inputs amplified.
    """
    drawn_anew = copied(module)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in drawn_anew.modules():
            for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
                if not tensor.is_floating_point() or not tensor.numel():
                    continue
                if is_product(layer) and name == "weight":
                    _amplify(tensor, random)
                elif tensor.abs().max() < TINY:
                    several = sum(size > 1 for size in tensor.shape) > 1 or name in ("bias", "running_mean")
                    drawn = torch.randn(tensor.shape, generator=random) * TINY
                    tensor.copy_(drawn if several else 0.5 + torch.rand(tensor.shape, generator=random))
    return drawn_anew


def _amplify(weight: Tensor, random: torch.Generator) -> None:
    """Let a product make of inputs of deviation 1 outputs of deviation 1, if it makes far less of them."""
    nothing = not weight.any()
    if nothing:
        weight.copy_(torch.randn(weight.shape, generator=random))
    gain = float(weight.square().mean().sqrt()) * max(1, weight[0].numel()) ** 0.5
    if nothing or gain < TINY:
        weight.div_(gain)


def _by_halves(groups: Sequence[Group], trial: _Trial) -> list[str | None]:
    why = trial.why_not(groups) if groups else None
    if why is None or len(groups) == 1:
        return [why] * len(groups)
    middle = len(groups) // 2
    return [*_by_halves(groups[:middle], trial), *_by_halves(groups[middle:], trial)]


class _Trial:
    """A net, and the inputs on which it is tried with and without channels that are zero."""

    def __init__(self, module: nn.Module, rows: Tensor) -> None:
        self.module, self.rows = module, rows
        self.trains = _trains(module, rows)

    def why_not(self, groups: Sequence[Group]) -> str | None:
        """Why not all of some groups may lose channels, or ``None``."""
        for number, cuts in enumerate(_rounds(groups)):
            zeroed = _zeroed(self.module, cuts)
            cut = copied(zeroed)
            try:
                replay(cut, cutting_edits(cut, cuts))
                before, _ = answer(zeroed, self.rows[:ROWS]), answer(cut, self.rows[:ROWS])
            except (ValueError, NetFailsError):
                return FAILS
            if not number and self.trains and not _trains(cut, self.rows):
                return FAILS
            if not all(one.isfinite().all() for one in before):
                return CHANGES
            # How large inputs are matters to what is computed, not to how channels hang together.
            if not _same(zeroed, cut, self.rows if number < 2 else self.rows[:ROWS]):
                return CHANGES
        return None


def _rounds(groups: Sequence[Group]) -> Iterator[Cuts]:
    """What is tried to be kept: all but the first, every second one, all but the last, some, two.

    Halves that are taken apart again stand an even cut only, and parts that begin at a share of the width move with the
    first. Then one channel less of some groups and not of the others, so that any two are told apart: those whose
    number has a binary digit set, and those that have it not.
    """
    yield [(group, range(1, group.channels)) for group in groups]
    yield [(group, range(0, group.channels, 2)) for group in groups]
    yield [(group, range(group.channels - 1)) for group in groups]
    random = torch.Generator().manual_seed(0)
    for most in (None, 2):
        sizes = [min(most or 1 + group.channels // 3, group.channels) for group in groups]
        orders = [torch.randperm(group.channels, generator=random).tolist() for group in groups]
        yield [(group, sorted(order[:size])) for group, size, order in zip(groups, sizes, orders, strict=True)]
    for digit in range((len(groups) - 1).bit_length()):
        for wanted in (0, 1):
            first = [int(place >> digit & 1 == wanted) for place in range(len(groups))]
            yield [(group, range(begin, group.channels)) for begin, group in zip(first, groups, strict=True)]


def _zeroed(module: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy in which everything that makes, scales or shifts the channels that are not kept is zero."""
    zeroed = copied(module)
    tensors = tensors_of(zeroed)
    with torch.no_grad():
        for group, kept in cuts:
            for member in group.members:
                for name, dimension in member.tensors.items():
                    if member.axis != INPUTS and tensors.get(name) is not None:
                        tensors[name].movedim(dimension, 0)[member.places_without(kept)] = 0.0
    return zeroed


def _trains(module: nn.Module, rows: Tensor) -> bool:
    """Whether a net runs as it does in training: layers may run then that do not when it answers."""
    try:
        answer(copied(module).train(), rows[:ROWS])
    except NetFailsError:
        return False
    return True


def _same(zeroed: nn.Module, cut: nn.Module, rows: Tensor) -> bool:
    """Whether both give the same for all rows; computed again in float64 where float32 cannot tell."""
    exact: tuple[nn.Module, nn.Module] | None = None
    for some in rows.split(ROWS):
        try:
            before, same = _compared(zeroed, cut, some)
        except NetFailsError:
            return False
        if all(map(_is_told, before)):
            if not same:
                return False
            continue
        exact = exact or (_in_float64(zeroed), _in_float64(cut))
        with contextlib.suppress(NetFailsError):  # it computes in floats of its own
            _, same = _compared(*exact, some.double())
        if not same:
            return False
    return True


def _compared(zeroed: nn.Module, cut: nn.Module, rows: Tensor) -> tuple[list[Tensor], bool]:
    before, after = answer(zeroed, rows), answer(cut, rows)
    same = len(before) == len(after) and all(_equal(one, other) for one, other in zip(before, after, strict=True))
    return before, same


def _in_float64(module: nn.Module) -> nn.Module:
    """A copy that computes in doubles, but for complex numbers."""
    doubled = copied(module)
    doubled._apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    return doubled


def _equal(before: Tensor, after: Tensor) -> bool:
    """Whether outputs are equal, each beside what it varies by over inputs of one size.

    So no offset hides a difference, and no other output that is far larger.
    """
    if before.shape != after.shape or not (before.is_floating_point() or before.is_complex()):
        return before.shape == after.shape and bool(before.equal(after))
    if not before.isfinite().all():
        return True  # it overflows with the channels, too: that tells nothing
    varied = _variation(before)
    allowed = TOLERANCE * varied.clamp_min(LEAST * _largest(varied)) + _rounding(before)
    return bool(((before - after).abs() <= allowed).all())


def _is_told(before: Tensor) -> bool:
    """Whether rounding is small beside what the outputs vary by."""
    return not before.is_floating_point() or _rounding(before) <= TOLD * _largest(_variation(before))


def _variation(outputs: Tensor) -> Tensor:
    """By how much each output of a row differs from its mean over rows, at most."""
    rows = outputs if outputs.dim() else outputs[None]
    return (rows - rows.mean(0)).abs().amax(0) if rows.numel() else rows.new_zeros(rows.shape[1:]).abs()


def _rounding(outputs: Tensor) -> float:
    return ROUNDING.get(outputs.dtype, max(ROUNDING.values())) * _largest(outputs)


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
