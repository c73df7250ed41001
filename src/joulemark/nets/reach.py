"""Which channels reach which, found by running a net with numbers that are not numbers.

Whatever is computed from NaN is NaN. So a net is run in which products (convolutions, linear layers) are not computed:
each puts out what it did for one row of inputs, with NaN in some of its channels, and is watched for NaN among its
inputs. That says which outputs of which layers the inputs of others depend on, whatever operators are between them:
sums, concatenations, paddings, permutations, pieces, gates, or anybody's code. Operators need no rules for it.

A row of the batch is one such try. First each source is NaN as a whole; then all sources that reach no place together
are tried at once, with NaN in the channels whose number has its first binary digit set, those that have it not, those
that have the second set, and so on. A place that depends on one channel reads its number out of that. Where it depends
on several, each channel has a row of its own.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

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


class Link(NamedTuple):
    """What of one axis depends on what of another: pairs of an entry of ``source`` and a place of ``reader``.

    ``mixed`` if every place depends on every entry alike, as behind a norm over all channels; there are no pairs then.
    """

    source: Axis
    reader: Axis
    entries: tuple[int, ...]
    places: tuple[int, ...]
    mixed: bool


class Reach(NamedTuple):
    """All links of a net, and the paths of the layers of a known kind that ran."""

    links: tuple[Link, ...]
    ran: frozenset[str]


class NetFailsError(Exception):
    """The net's own code does not run on numbers that are not finite, or not twice in the same way."""


Row = Mapping[Axis, Tensor]
"""One try: of each source that is poisoned, which entries (size,) are."""


def reach(module: nn.Module, inputs: Tensor) -> Reach:
    """All links of ``module`` in evaluation mode, for one row of ``inputs`` (1, ...).

    Raises :class:`NetFailsError` with the name of what the net's own code raises for numbers that are not finite.
    """
    probe = _Probe(module, inputs)
    try:
        links = _links(probe)
    except NetFailsError:
        if not probe.by_rows:
            raise
        probe.by_rows = False  # what it makes of several rows may be no batch of them
        links = _links(probe)
    return Reach(tuple(links), frozenset(probe.calm))


def _links(probe: _Probe) -> list[Link]:
    reached: dict[Axis, dict[Axis, Tensor]] = {}
    for sources in (probe.makers(), probe.own_tensors()):
        seen = probe.run([{axis: torch.ones(axis.size, dtype=torch.bool)} for axis in sources])
        for row, source in enumerate(sources):
            reached[source] = {axis: places[row] for axis, places in seen.items() if places[row].any()}
    links = [Link(one, axis, (), (), mixed=True) for one, places in reached.items() if one.size == 1 for axis in places]
    several: dict[Axis, list[Axis]] = defaultdict(list)
    for together in _apart({source: places for source, places in reached.items() if source.size > 1}):
        rows = [row for digit in range(_digits(together)) for row in _by_digit(together, digit)]
        seen = probe.run(rows)
        for source in together:
            for axis, places in reached[source].items():
                link = _link(source, axis, places, _in_turn(seen, axis, rows)[: 2 * _digits([source])])
                if link is None:
                    several[source].append(axis)
                else:
                    links.append(link)
    for source, places in several.items():
        rows = [{source: entry} for entry in torch.eye(source.size, dtype=torch.bool)]
        seen = probe.run(rows)
        links += [_exact(source, axis, _in_turn(seen, axis, rows)) for axis in places]
    return links


def _in_turn(seen: Mapping[Axis, Tensor], axis: Axis, rows: Sequence[Row]) -> Tensor:
    """What was seen at an axis in each row, (rows, places); a net may leave its way of before for other numbers."""
    return seen.get(axis, torch.zeros(len(rows), axis.size, dtype=torch.bool))


def _digits(sources: Sequence[Axis]) -> int:
    return max((source.size - 1).bit_length() for source in sources)


def _by_digit(sources: Sequence[Axis], digit: int) -> Iterator[Row]:
    """Two rows: entries whose number has this binary digit, and those that have it not."""
    for wanted in (1, 0):
        yield {source: (torch.arange(source.size) >> digit & 1) == wanted for source in sources}


def _apart(reached: Mapping[Axis, Mapping[Axis, Tensor]]) -> list[list[Axis]]:
    """Sources in groups of which no two reach one place, so that all of a group are told apart in one run.

    Tensors in no layer are in groups of their own: they are the same for all rows of a batch.
    """
    found: list[tuple[list[Axis], dict[Axis, Tensor]]] = []
    for source, places in reached.items():
        for members, taken in found:
            alike = _in_no_layer(members[0]) == _in_no_layer(source)
            if alike and not any((places[axis] & taken[axis]).any() for axis in places.keys() & taken.keys()):
                break
        else:
            members, taken = [], {}
            found.append((members, taken))
        members.append(source)
        taken.update({axis: taken.get(axis, torch.zeros_like(where)) | where for axis, where in places.items()})
    return [members for members, _ in found]


def _link(source: Axis, reader: Axis, places: Tensor, seen: Tensor) -> Link | None:
    """What the rows of all digits (2 digits, places) say; ``None`` if some places depend on several entries.

    If all places depend on all entries is taken from this: an entry and that with all digits different are not told
    from it, nor is what depends on one of each pair. That leaves a layer whole that might be cut, and no more.
    """
    where = places.nonzero()[:, 0]
    with_digit, without = seen[0::2, where], seen[1::2, where]
    if (with_digit & without).all():
        return Link(source, reader, (), (), mixed=True)
    if not (with_digit ^ without).all():
        return None
    numbers = (with_digit.long() << torch.arange(len(with_digit))[:, None]).sum(0)
    return Link(source, reader, tuple(numbers.tolist()), tuple(where.tolist()), mixed=False)


def _exact(source: Axis, reader: Axis, seen: Tensor) -> Link:
    """What the rows of all entries (entries, places) say."""
    if (seen == seen[0]).all():
        return Link(source, reader, (), (), mixed=True)
    entries, places = seen.nonzero().T.tolist()
    return Link(source, reader, tuple(entries), tuple(places), mixed=False)


def _in_no_layer(axis: Axis) -> bool:
    return axis.name.isdigit()


class _Probe:
    """A copy of a net whose products put out what they did once, beside the poison that a row has for them."""

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        self.module, self.inputs = copy.deepcopy(module).eval(), inputs
        self.calm: dict[str, list[Tensor]] = defaultdict(list)  # outputs of each call of a layer, for one row
        self.calls: dict[str, int] = {}
        self.poison: dict[str, Tensor] | None = None  # (rows, outputs) of each layer; None while it is being watched
        self.seen: dict[Axis, Tensor] = {}
        self.rows = 1
        for path, layer in self.module.named_modules():
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
        self.calm = calm
        self.by_rows = len(ones) == len(twos) and all(map(_is_repeated, ones, twos))
        self.most_rows = max(1, min(64, MOST_NUMBERS // max(1, sum(one.numel() for one in ones))))

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

    def run(self, rows: Sequence[Row]) -> dict[Axis, Tensor]:
        """Of every axis that reads, which of its places (rows, size) are NaN.

        Tensors in no layer are the same for all rows of a batch, so rows that poison one run alone.
        """
        alone = not self.by_rows or any(_in_no_layer(axis) for row in rows for axis in row)
        size = 1 if alone else self.most_rows
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        found = [(self._run(batch), batch) for batch in batches]
        every = dict.fromkeys(axis for seen, _ in found for axis in seen)
        return {axis: torch.cat([_in_turn(seen, axis, batch) for seen, batch in found]) for axis in every}

    def _run(self, rows: Sequence[Row]) -> dict[Axis, Tensor]:
        self.rows, self.seen, self.calls = len(rows), {}, dict.fromkeys(self.calm, 0)
        alone = [(axis, mask) for axis, mask in rows[0].items() if _in_no_layer(axis)]
        self.poison = {}
        for number, row in enumerate(rows):
            for axis, mask in row.items():
                if not _in_no_layer(axis):
                    held = self.poison.setdefault(axis.layer, torch.zeros(len(rows), axis.size, dtype=torch.bool))
                    held[number] = mask
        tensors = tensors_of(self.module)
        kept = {axis.layer: tensors[axis.layer].detach().clone() for axis, _ in alone}
        with torch.no_grad():
            for axis, mask in alone:
                tensors[axis.layer].movedim(int(axis.name), 0)[mask] = torch.nan
        answer = self._answer(len(rows))
        with torch.no_grad():
            for name, tensor in kept.items():
                tensors[name].copy_(tensor)
        for number, tensor in enumerate(answer):
            self._see(f"{number}", ANSWER, tensor, 1 if tensor.dim() > 1 else None)
        return self.seen

    def _answer(self, rows: int) -> list[Tensor]:
        """All tensors that the net puts out for so many equal rows: one, or several in a dictionary or a list."""
        try:
            with torch.no_grad():
                outputs = self.module(self.inputs.expand(rows, *self.inputs.shape[1:]).clone())
        except Exception as error:  # (a net is anybody's code, and raises what it likes)
            raise NetFailsError(type(error).__name__) from error
        return [one for one in tree_leaves(outputs) if isinstance(one, Tensor)]

    def _product(self, path: str, layer: nn.Module, real: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Stands for a product: watched, not computed."""
        if self.poison is None:
            out: Tensor = real(*args, **kwargs)
            self.calm[path].append(out.detach().clone())
            return out
        self._see(path, INPUTS, args[0] if args else kwargs["input"], channel_dimension(layer))
        calm = self.calm[path][self.calls[path]]
        self.calls[path] += 1
        out = calm.repeat(self.rows, *[1] * (calm.dim() - 1))
        if path in self.poison:
            dimension = channel_dimension(layer) % calm.dim()
            poison = self.poison[path].repeat_interleave(len(calm), 0) if self.by_rows else self.poison[path]
            shape = [len(poison), *[1] * (calm.dim() - 1)]
            shape[dimension] = poison.shape[1]
            out = out.masked_fill(poison.reshape(shape), torch.nan)
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
        """Note which channels of ``x`` are NaN in which row; without ``dimension`` it counts as one channel."""
        bad = x.isnan() if x.is_floating_point() else torch.zeros_like(x, dtype=torch.bool)
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
    return torch.allclose(
        two.float(), one.repeat(2, *[1] * (one.dim() - 1)).float(), rtol=1e-3, atol=1e-4, equal_nan=True
    )


def _all(calm: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    return [tensor for calls in calm.values() for tensor in calls]


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name; what has two names is there twice."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}
