"""Which channels reach which, found by running a net with numbers that are not numbers.

Whatever is computed from NaN is NaN. So a net is run in which products (convolutions, linear layers) are not computed:
each puts out what it did for one row of inputs, with NaN in some of its channels, and is watched for NaN among its
inputs. That says which outputs of which layers the inputs of others depend on, whatever operators are between them:
sums, concatenations, paddings, permutations, pieces, gates, or anybody's code. Operators need no rules for it.

A row of the batch is one such try. First each source is NaN as a whole; then all sources that reach no place together
are tried at once, with NaN in the channels whose number has its first binary digit set, those that have it not, those
that have the second set, and so on. A place that depends on one channel reads its number out of that. Where it depends
on several, each channel has a row of its own. A source that reaches nothing so is tried with infinity: comparisons with
NaN are false, and a ReLU that is written as a choice hides it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.probe import Axis, Probe, Row, in_no_layer, in_turn

MOST_ENTRIES = 512
"""Tensors in no layer that are longer are not looked at entry by entry, which takes a run for each."""


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
    """All links of a net, the paths of the layers of a known kind that ran, and sources on whose NaN the net fails."""

    links: tuple[Link, ...]
    ran: frozenset[str]
    failing: frozenset[Axis]


def reach(module: nn.Module, inputs: Tensor, *, training: bool = False) -> Reach:
    """All links of ``module`` in evaluation mode, for one row of ``inputs`` (1, ...).

    With ``training`` the net's own code is told that it trains, and may run layers that do not run when it answers;
    the layers are not told. Raises :class:`NetFailsError` with the name of what the net's own code raises.
    """
    probe = Probe(module, inputs, training)
    makers, own = probe.makers(), probe.own_tensors()
    failing: set[Axis] = set()
    links: list[Link] = []
    for probe.value in (torch.nan, torch.inf):
        reached: dict[Axis, dict[Axis, Tensor]] = {}
        for sources in (makers, own):
            seen, bad = probe.tried([{axis: torch.ones(axis.size, dtype=torch.bool)} for axis in sources])
            failing |= {sources[row] for row in bad}
            for row, source in enumerate(sources):
                reached[source] = {axis: places[row] for axis, places in seen.items() if places[row].any()}
        links += _links(probe, {source: places for source, places in reached.items() if source not in failing})
        makers = [source for source in makers if not reached[source] and source not in failing]
        own = [source for source in own if not reached[source] and source not in failing]
    return Reach(tuple(links), frozenset(probe.calm), frozenset(failing))


def _links(probe: Probe, reached: Mapping[Axis, Mapping[Axis, Tensor]]) -> list[Link]:
    """What depends on which entries, of sources that reach some places as a whole."""
    links = [Link(one, axis, (), (), mixed=True) for one, places in reached.items() if one.size == 1 for axis in places]
    several: dict[Axis, dict[Axis, Tensor]] = defaultdict(dict)
    for together in _apart({source: places for source, places in reached.items() if source.size > 1 and places}):
        rows = [row for digit in range(_digits(together)) for row in _by_digit(together, digit)]
        seen = probe.run(rows)
        for source in together:
            for axis, places in reached[source].items():
                link = _link(source, axis, places, in_turn(seen, axis, rows)[: 2 * _digits([source])])
                if link is not None:
                    links.append(link)
                elif in_no_layer(source) and source.size > MOST_ENTRIES:
                    links.append(Link(source, axis, (), (), mixed=True))
                else:
                    several[source][axis] = places
    for together in _apart({source: reached[source] for source in several}):
        rows = [
            {source: torch.arange(source.size) == entry for source in together if entry < source.size}
            for entry in range(max(source.size for source in together))
        ]
        seen = probe.run(rows)
        for source in together:
            links += [_exact(source, axis, in_turn(seen, axis, rows)[: source.size]) for axis in several[source]]
    return links


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
            alike = in_no_layer(members[0]) == in_no_layer(source)
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
