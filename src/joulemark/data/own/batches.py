"""What a user's functions hand over, as batches of rows: inputs, labels and groups as NumPy arrays.

Whatever it is, it is one of two things. What can be asked for row 17 is *indexed*: it is read in the order of its
places, so that a shuffling loader gives the same rows as one that does not. What can only be gone through is read once,
to its end.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from joulemark.data.own.calling import called

CHUNK = 256
"""Rows that are asked of a data set at a time."""
MOST_CLASSES = 10**6
"""Labels from here on are slips: a task has no more classes."""


class Batch(NamedTuple):
    """Some rows: inputs (n, ...), labels (n,), and the name of each row's group (n,); ``None``: there are none."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    groups: NDArray[np.str_] | None = None


@dataclasses.dataclass(frozen=True)
class Indexed:
    """Rows that can be asked for by their places."""

    fetch: Callable[[Sequence[int]], Batch]
    places: Sequence[int]

    def batches(self) -> Iterator[Batch]:
        """All rows, in order."""
        for start in range(0, len(self.places), CHUNK):
            yield self.fetch(self.places[start : start + CHUNK])


def arrays(name: str, made: Any) -> Batch | None:
    """Arrays or tensors as one batch; ``None`` for what is none. ``name`` is that of the function that gave them."""
    if _is_array(made):
        return as_batch(name, (made,))
    pair = isinstance(made, list | tuple) and 1 <= len(made) <= 3 and _is_array(made[0]) and made[0].ndim >= 2
    together = pair and all(one is None or len(one) == len(made[0]) for one in made[1:] if hasattr(one, "__len__"))
    if isinstance(made, tuple) or (pair and together and len(made) > 1):
        return as_batch(name, tuple(made))
    return None


def indexed(name: str, made: Any) -> Indexed | None:
    """A data set, or a loader of one, as rows by their places; ``None`` for what can only be gone through.

    Of a loader the data set is taken, the rows that its sampler may draw, and how it puts rows together.
    """
    from torch.utils.data import DataLoader, IterableDataset

    if isinstance(made, DataLoader):
        if isinstance(made.dataset, IterableDataset) or made.batch_sampler is None:  # its items may be whole batches
            return None
        from torch.utils.data import default_collate

        own = None if made.collate_fn is default_collate else made.collate_fn
        return Indexed(_fetch(name, made.dataset, own), _sampled(name, made))
    if isinstance(made, IterableDataset) or not (hasattr(made, "__getitem__") and hasattr(made, "__len__")):
        return None
    if isinstance(made, Mapping | str):
        return None
    return Indexed(_fetch(name, made, None), range(_length(name, made)))


def iterated(name: str, made: Any) -> Iterator[Batch]:
    """The batches that an iterable yields; one that yields single rows (a label each) gives batches of one."""
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise ValueError(
            f"{name} gave {_told(made)}: give (inputs, labels) as arrays, a torch Dataset or DataLoader, an iterable "
            "of batches, or the path of a folder of pictures"
        )
    stated, rows, number, end = _stated(made), 0, 0, object()
    items = called(name, iter, made)
    while (item := called(f"batch {number} of {name}", next, items, end)) is not end:
        where = f"batch {number} of {name}"
        batch = as_batch(where, _batched(where, item))
        rows, number = rows + len(batch.inputs), number + 1
        yield batch
    if max(rows, number) < stated:  # a length may count rows or batches
        raise ValueError(
            f"{name} says that its length is {stated:,}, and ended behind {rows:,} rows: mend it, or give it no length"
        )


def as_batch(name: str, item: Sequence[Any]) -> Batch:
    """Inputs, labels and groups of a batch, whatever kinds of arrays they are.

    Raises ``ValueError`` for what is none.
    """
    if not 1 <= len(item) <= 3:
        raise ValueError(f"{name} gave {len(item)} things: give inputs, labels and, where rows come in groups, groups")
    inputs = array(name, item[0])
    if inputs.ndim < 2:
        raise ValueError(f"{name} gave inputs of shape {list(inputs.shape)}: the first axis is that of the rows")
    labels = None if len(item) < 2 or item[1] is None else _labels(name, item[1])
    groups = None if len(item) < 3 or item[2] is None else _groups(name, item[2])
    for what, one in (("labels", labels), ("groups", groups)):
        if one is not None and one.shape != inputs.shape[:1]:
            raise ValueError(f"{name} gave {len(inputs)} inputs and {what} of shape {list(one.shape)}: give one a row")
    return Batch(inputs, labels, groups)


def array(name: str, one: Any) -> NDArray[Any]:
    """Numbers as a NumPy array: whole numbers and float32 as they are, other floats as float32.

    Raises ``ValueError`` for what holds no numbers.
    """
    if hasattr(one, "detach"):  # a tensor
        one = _of_tensor(name, one)
    elif hasattr(one, "convert") and hasattr(one, "getbands"):  # a picture of Pillow
        pixels = np.asarray(one)
        one = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    try:
        found = np.asarray(one)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} gave {_told(one)}, which is no array of numbers: {error}") from error
    if found.dtype.kind == "b":
        found = found.astype(np.uint8)
    if found.dtype.kind not in "uif":
        raise ValueError(f"{name} gave {_told(one)} of {found.dtype}: inputs are numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinity, which is refused with its row
        return found.astype(np.float32 if found.dtype.kind == "f" else found.dtype.newbyteorder("="), copy=False)


def _of_tensor(name: str, tensor: Any) -> NDArray[Any]:
    """A tensor as an array; one that NumPy has no type for as float32."""
    try:
        dense = tensor.detach().cpu()
        found: NDArray[Any] = (dense.float() if dense.is_floating_point() else dense).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, without memory
        raise ValueError(f"{name} gave a tensor that cannot be read as an array: {error}") from error
    return found


def _groups(name: str, given: Any) -> NDArray[np.str_]:
    if np.ndim(given) == 0 and not isinstance(given, Sequence):
        raise ValueError(f"{name} gave {_told(given)} as groups: give the name of the group of each row")
    names = [_plain(one) for one in given]
    unknown = next((row for row, one in enumerate(names) if one is None or one != one), None)  # NaN is not itself
    if unknown is not None:
        raise ValueError(f"{name} gave the group {names[unknown]} (its row {unknown}): name the group of each row")
    return np.array([str(one) for one in names], np.str_)


def _labels(name: str, given: Any) -> NDArray[np.int64]:
    try:
        found = _of_tensor(name, given) if hasattr(given, "detach") else np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name} gave labels that are no array of whole numbers: {error}") from error
    if found.dtype.kind == "O" and all(isinstance(one, int | np.integer) for one in found.reshape(-1)):
        found = found.astype(np.int64)  # as columns of a table are that held other values before
    if found.dtype.kind in "OUS":
        unfit = next((repr(one)[:40] for one in map(_plain, found.reshape(-1)) if not isinstance(one, int)), "nothing")
        raise ValueError(f"{name} gave labels such as {unfit}: number the classes from 0")
    if found.ndim == 2 and found.shape[1] > 1:
        raise ValueError(f"{name} gave labels of shape {list(found.shape)}: give the number of the class of each row")
    if found.ndim == 2:
        found = found[:, 0]
    if found.dtype.kind not in "uib":
        raise ValueError(f"{name} gave labels of {found.dtype}: give the number of the class, a whole number from 0")
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < MOST_CLASSES:
        wrong = int(found.min()) if int(found.min()) < 0 else int(found.max())
        raise ValueError(f"{name} gave the label {wrong}: number the classes from 0")
    return found.astype(np.int64)


def _fetch(name: str, dataset: Any, collate: Callable[[list[Any]], Any] | None) -> Callable[[Sequence[int]], Batch]:
    def fetch(places: Sequence[int]) -> Batch:
        items = [called(f"row {place} of {name}", dataset.__getitem__, place) for place in places]
        if collate is None:
            return _stacked(name, items, places)
        together = called(f"collate_fn of {name}", collate, items)
        if isinstance(together, Mapping):
            raise ValueError(f"collate_fn of {name} {_dictionary('gave', together)}: give (inputs, labels)")
        batch = as_batch(name, together if isinstance(together, list | tuple) else (together,))
        if len(batch.inputs) != len(items):
            raise ValueError(f"collate_fn of {name} made {len(batch.inputs)} rows of {len(items)}")
        return batch

    return fetch


def _stacked(name: str, items: Sequence[Any], places: Sequence[int]) -> Batch:
    """Rows one by one as a batch. Raises ``ValueError`` naming the row that is of another shape."""
    rows = [_row(f"row {place} of {name}", item) for place, item in zip(places, items, strict=True)]
    inputs = [array(f"row {place} of {name}", row[0]) for place, row in zip(places, rows, strict=True)]
    for place, one, row in zip(places, inputs, rows, strict=True):
        if one.shape != inputs[0].shape:
            raise ValueError(
                f"row {place} of {name} has shape {list(one.shape)}, row {places[0]} has {list(inputs[0].shape)}: "
                "bring all to one size"
            )
        if len(row) != len(rows[0]):
            raise ValueError(f"row {place} of {name} holds {len(row)} things, row {places[0]} holds {len(rows[0])}")
    columns = [[_plain(row[k]) for row in rows] for k in range(1, len(rows[0]))]
    return as_batch(name, (np.stack(inputs), *columns))


def _row(name: str, item: Any) -> tuple[Any, ...]:
    if isinstance(item, Mapping):
        raise ValueError(f"{name} {_dictionary('is', item)}: give (input, label)")
    row = tuple(item) if isinstance(item, list | tuple) else (item,)
    if not 1 <= len(row) <= 3:
        raise ValueError(f"{name} holds {len(row)} things: give (input, label), or (input, label, group)")
    return row


def _batched(name: str, item: Any) -> tuple[Any, ...]:
    """What an iterable yields, as a batch: of a single row, whose label is one number, a batch of one."""
    if isinstance(item, Mapping):
        raise ValueError(f"{name} {_dictionary('is', item)}: give (inputs, labels)")
    parts = tuple(item) if isinstance(item, list | tuple) else (item,)
    if len(parts) > 1 and isinstance(_plain(parts[1]), int | float | bytes):
        return (array(name, parts[0])[None], *([_plain(part)] for part in parts[1:]))
    return parts


def _plain(value: Any) -> Any:
    """A number alone, out of a tensor or array of one."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _sampled(name: str, loader: Any) -> Sequence[int]:
    """The places that a loader's sampler may draw, in order."""
    from torch.utils.data import RandomSampler, SequentialSampler, WeightedRandomSampler

    rows = _length(name, loader.dataset)
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if isinstance(sampler, WeightedRandomSampler) or getattr(sampler, "replacement", False):
        raise ValueError(f"the sampler of {name} draws rows more than once: give the data set itself")
    if isinstance(sampler, SequentialSampler | RandomSampler):
        return range(rows)

    def draw() -> list[int]:
        places = itertools.chain.from_iterable(loader.batch_sampler) if sampler is None else iter(sampler)
        return [int(place) for place in itertools.islice(places, rows + 1)]  # it may be endless

    first, second = (called(f"the sampler of {name}", draw) for _ in range(2))
    if len(set(first)) < len(first):
        raise ValueError(f"the sampler of {name} draws rows more than once: give the data set itself")
    if set(first) != set(second):
        raise ValueError(f"the sampler of {name} draws other rows each time: give a Subset with the rows that you mean")
    return sorted(first)


def _length(name: str, dataset: Any) -> int:
    """How many rows a data set has; torch's ``Dataset`` has ``__getitem__`` and may lack ``__len__``."""
    return called(f"len({name})", len, dataset)


def _stated(made: Any) -> int:
    """The length that an iterable states, of a loader that of its data set; 0 if it states none."""
    counted = getattr(made, "dataset", made)
    return called("len()", len, counted) if hasattr(counted, "__len__") else 0


def _dictionary(verb: str, given: Mapping[Any, Any]) -> str:
    return f"{verb} a dictionary of {', '.join(map(str, given))[:80] or 'nothing'}"


def _is_array(one: Any) -> bool:
    return hasattr(one, "shape") and hasattr(one, "dtype") and hasattr(one, "ndim")


def _told(made: Any) -> str:
    return f"a {type(made).__name__}" if made is not None else "nothing (does it lack a return?)"
