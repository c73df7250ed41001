"""A net run with poison among what its layers put out, and watched for it among what they read.

Poison is NaN, since whatever is computed from NaN is NaN; or infinity, which a comparison lets through where it is
greater. Products (convolutions, linear layers) are not computed: each puts out what it did for one row of inputs,
beside the poison that a row of the batch has for it. So what is seen at a layer depends on the layers in front of it
and on no other.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.answers import NetFailsError, answer, copied
from joulemark.nets.axes import INPUTS, OUTPUTS, axes, channel_dimension, is_product, length
from joulemark.nets.edits.pad_channels import padded_channels

ANSWER, PADDING = "answer", "padding"
MOST_NUMBERS = 2**26
"""Numbers that the layers of one batch may put out together: 256 MB."""


class Axis(NamedTuple):
    """An axis of a layer: "outputs", "inputs", of a block that pads its shortcut the "padding".

    Of a tensor that is in no layer of a known kind the number of a dimension; of the net itself the "answer".
    """

    layer: str
    name: str
    size: int


Row = Mapping[Axis, Tensor]
"""One try: of each source that is poisoned, which entries (size,) are."""


class Probe:
    """A copy of a net whose products put out what they did once, beside the poison that a row has for them."""

    def __init__(self, module: nn.Module, inputs: Tensor, training: bool) -> None:
        self.module, self.inputs = copied(module).eval(), inputs
        self.calm: dict[str, list[Tensor]] = defaultdict(list)  # outputs of each call of a layer, for one row
        self.calls: dict[str, int] = {}
        self.poison: dict[str, Tensor] | None = None  # (rows, outputs) of each layer; None while it is being watched
        self.seen: dict[Axis, Tensor] = {}
        self.rows = 1
        self.value = torch.nan
        self.own: set[str] = set()  # products that do more than their kind
        for tensor in tensors_of(self.module).values():
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)  # an expanded one cannot be written
        for path, layer in self.module.named_modules():
            layer.training = training and not type(layer).__module__.startswith("torch.")
            if is_product(layer):
                layer.forward = partial(self._product, path, layer, layer.forward)
            elif axes(layer):
                layer.forward = partial(self._passing, path, layer, layer.forward)
            elif padding := padded_channels(layer):
                layer.register_forward_hook(partial(self._padded, path, padding))
        answer = self._answer(1)
        calm, self.calm = self.calm, defaultdict(list)
        twice = self._answer(2)
        ones, twos = [*_all(calm), *answer], [*_all(self.calm), *twice]
        self.calm = {path: calls for path, calls in calm.items() if path not in self.own}
        self.most_rows = max(1, min(64, MOST_NUMBERS // max(1, sum(one.numel() for one in ones))))
        self.by_rows = len(ones) == len(twos) and all(map(_is_repeated, ones, twos))
        self.by_rows = self.by_rows and self._keeps_rows_apart()

    def _keeps_rows_apart(self) -> bool:
        """Whether NaN in one row of a batch stays in it: what is computed over rows, as statistics, carries it on."""
        every = {axis: torch.ones(axis.size, dtype=torch.bool) for axis in self.makers()}
        try:
            return not any(seen[1].any() for seen in self._run([every, {}]).values())
        except NetFailsError:
            return False

    def makers(self) -> list[Axis]:
        """Outputs of all products that ran."""
        layers = dict(self.module.named_modules())
        return [Axis(path, OUTPUTS, length(layers[path], OUTPUTS)) for path in self.calm if is_product(layers[path])]

    def own_tensors(self) -> list[Axis]:
        """Every dimension of every tensor that is in no layer of a known kind, or in one that did not run.

        The net's own code may read them.
        """
        found = []
        for path, layer in self.module.named_modules():
            if path not in self.calm:
                held = (*layer.named_parameters(path, recurse=False), *layer.named_buffers(path, recurse=False))
                for name, tensor in held:
                    if tensor.is_floating_point():
                        found += [Axis(name, str(d), size) for d, size in enumerate(tensor.shape) if size > 1]
        return found

    def tried(self, rows: Sequence[Row]) -> tuple[dict[Axis, Tensor], list[int]]:
        """:meth:`run`, and the rows on which the net fails, in which nothing is seen."""
        with contextlib.suppress(NetFailsError):
            return self.run(rows), []
        found: list[tuple[dict[Axis, Tensor], Sequence[Row]]] = []
        failing = []
        for number, row in enumerate(rows):
            try:
                found.append((self._run([row]), [row]))
            except NetFailsError:
                found.append(({}, [row]))
                failing.append(number)
        return _joined(found), failing

    def run(self, rows: Sequence[Row]) -> dict[Axis, Tensor]:
        """Of every axis that reads, which of its places (rows, size) are poisoned.

        Tensors in no layer are the same for all rows of a batch, so rows that poison one run alone.
        """
        alone = not self.by_rows or any(in_no_layer(axis) for row in rows for axis in row)
        size = 1 if alone else self.most_rows
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        seen = _joined([(self._run(batch), batch) for batch in batches])
        if rows and self.value == torch.inf:  # a net may have infinities of its own, as where attention is masked
            calm = self._run([{}])
            seen = {axis: places & ~in_turn(calm, axis, [{}]) for axis, places in seen.items()}
        return seen

    def _run(self, rows: Sequence[Row]) -> dict[Axis, Tensor]:
        self.rows, self.seen, self.calls = len(rows), {}, dict.fromkeys(self.calm, 0)
        alone = [(axis, mask) for axis, mask in rows[0].items() if in_no_layer(axis)]
        self.poison = {}
        for number, row in enumerate(rows):
            for axis, mask in row.items():
                if not in_no_layer(axis):
                    held = self.poison.setdefault(axis.layer, torch.zeros(len(rows), axis.size, dtype=torch.bool))
                    held[number] = mask
        tensors = tensors_of(self.module)
        kept = {axis.layer: tensors[axis.layer].detach().clone() for axis, _ in alone}
        for axis, mask in alone:
            tensors[axis.layer].data.movedim(int(axis.name), 0)[mask] = self.value
        try:
            outputs = self._answer(len(rows))
        finally:
            for name, tensor in kept.items():
                tensors[name].data.copy_(tensor)
        for number, tensor in enumerate(outputs):
            self._see(f"{number}", ANSWER, tensor, 1 if tensor.dim() > 1 else None)
        return self.seen

    def _answer(self, rows: int) -> list[Tensor]:
        """What the net puts out for so many equal rows."""
        return answer(self.module, self.inputs.expand(rows, *self.inputs.shape[1:]).clone())

    def _product(self, path: str, layer: nn.Module, real: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Stands for a product: watched, not computed. One that does more than its kind is the net's own code."""
        x = args[0] if args else kwargs["input"]
        if self.poison is None or path in self.own:
            out: Tensor = real(*args, **kwargs)
            if not _fits(layer, x, out):
                self.own.add(path)
            elif path not in self.own:
                self.calm[path].append(out.detach().clone())
            return out
        self._see(path, INPUTS, x, channel_dimension(layer))
        calm = self.calm[path][self.calls[path]]
        self.calls[path] += 1
        out = calm.repeat(self.rows, *[1] * (calm.dim() - 1))
        if path in self.poison:
            dimension = channel_dimension(layer) % calm.dim()
            poison = self.poison[path].repeat_interleave(len(calm), 0) if self.by_rows else self.poison[path]
            shape = [len(poison), *[1] * (calm.dim() - 1)]
            shape[dimension] = poison.shape[1]
            out = out.masked_fill(poison.reshape(shape), self.value)
        return out

    def _passing(self, path: str, layer: nn.Module, real: Any, *args: Any, **kwargs: Any) -> Any:
        """Stands for what passes each channel on as itself: watched and computed."""
        if self.poison is None:
            self.calm[path] = []
        else:
            self._see(path, OUTPUTS, args[0] if args else kwargs["input"], channel_dimension(layer))
        return real(*args, **kwargs)

    def _padded(self, path: str, padding: tuple[int, int], _: nn.Module, __: Any, out: Tensor) -> None:
        """Behind a block whose shortcut pads: watched where it does."""
        before, after = padding
        if self.poison is not None:
            self._see(path, PADDING, torch.cat([out[:, :before], out[:, out.shape[1] - after :]], 1), 1)

    def _see(self, path: str, name: str, x: Tensor, dimension: int | None) -> None:
        """Note which channels of ``x`` are poisoned in which row; without ``dimension`` it counts as one channel."""
        bad = x.isnan() if x.is_floating_point() or x.is_complex() else torch.zeros_like(x, dtype=torch.bool)
        if self.value == torch.inf:
            bad = bad | x.isinf()
        bad = bad.unsqueeze(-1) if dimension is None else bad.movedim(dimension, -1)
        rows = self.rows if self.by_rows else 1
        try:
            found = bad.reshape(rows, bad.numel() // max(1, rows * bad.shape[-1]), bad.shape[-1]).any(1)
        except RuntimeError as error:
            raise NetFailsError("rows of a batch that cannot be told apart") from error
        axis = Axis(path, name, found.shape[1])
        self.seen[axis] = self.seen.get(axis, torch.zeros_like(found)) | found


def _is_repeated(one: Tensor, two: Tensor) -> bool:
    """Whether for two equal rows a net gives what it gives for one, twice in turn."""
    if not one.dim() or two.shape != (2 * one.shape[0], *one.shape[1:]):
        return False
    twice = one.repeat(2, *[1] * (one.dim() - 1))
    return two.equal(twice) if two.dtype == torch.bool else bool(torch.isclose(two, twice, 1e-3, 1e-4, True).all())


def _fits(layer: nn.Module, x: Tensor, out: Any) -> bool:
    """Whether what a product reads and puts out has as many channels as it says."""
    dimension = channel_dimension(layer)
    if not isinstance(out, Tensor) or min(x.dim(), out.dim()) < abs(dimension):
        return False
    return (x.shape[dimension], out.shape[dimension]) == (length(layer, INPUTS), length(layer, OUTPUTS))


def _joined(found: Sequence[tuple[dict[Axis, Tensor], Sequence[Row]]]) -> dict[Axis, Tensor]:
    """What was seen in batches of rows, in turn."""
    every = dict.fromkeys(axis for seen, _ in found for axis in seen)
    return {axis: torch.cat([in_turn(seen, axis, batch) for seen, batch in found]) for axis in every}


def _all(calm: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    return [tensor for calls in calm.values() for tensor in calls]


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name; what has two names is there twice."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def in_turn(seen: Mapping[Axis, Tensor], axis: Axis, rows: Sequence[Row]) -> Tensor:
    """What was seen at an axis in each row, (rows, places); a net may leave its way of before for other numbers."""
    return seen.get(axis, torch.zeros(len(rows), axis.size, dtype=torch.bool))


def in_no_layer(axis: Axis) -> bool:
    """Whether it is a dimension of a tensor that is in no layer of a known kind."""
    return axis.name.isdigit()
