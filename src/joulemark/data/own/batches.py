"""What a user's functions hand over, as batches of rows: inputs, labels and groups as NumPy arrays.

Whatever it is, it is one of two things. What can be asked for row 17 is *indexed*: it is read in the order of its
places, so that a shuffling loader gives the same rows as one that does not. What can only be gone through is read once,
to its end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK = 256
"""Rows that are asked of a data set at a time."""


class Batch(NamedTuple):
    """Some rows: inputs (n, ...), labels (n,), and the name of each row's group (n,), text; ``None``: there are none."""

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
        if isinstance(made.dataset, IterableDataset):
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
            f"{name} gave {_told(made)}: give (inputs, labels) as arrays, a torch Dataset or DataLoader, an iterable of "
            "batches, or the path of a folder of pictures"
        )
    number = 0
    try:
        for item in made:
            where = f"batch {number} of {name}"
            yield as_batch(where, _batched(where, item))
            number += 1
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        raise ValueError(f"{name} raised {type(error).__name__} behind batch {number}: {error}") from error


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
    groups = None if len(item) < 3 or item[2] is None else np.array([str(_plain(one)) for one in item[2]])
    for what, one in (("labels", labels), ("groups", groups)):
        if one is not None and one.shape != inputs.shape[:1]:
            raise ValueError(f"{name} gave {len(inputs)} inputs and {what} of shape {list(one.shape)}: give one a row")
    return Batch(inputs, labels, groups)


def array(name: str, one: Any) -> NDArray[Any]:
    """Numbers as a NumPy array: whole numbers and float32 as they are, other floats as float32.

    Raises ``ValueError`` for what holds no numbers.
    """
    if hasattr(one, "detach"):  # a tensor
        tensor = one.detach().cpu()
        one = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
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
    return found.astype(np.float32) if found.dtype.kind == "f" and found.dtype != np.float32 else found


def _labels(name: str, given: Any) -> NDArray[np.int64]:
    found = np.asarray(given.detach().cpu().numpy() if hasattr(given, "detach") else given)
    if found.dtype.kind in "OUS":
        example = _plain(found.reshape(-1)[0]) if found.size else "nothing"
        raise ValueError(f"{name} gave labels such as {str(example)[:40]!r}: number the classes from 0")
    if found.ndim == 2 and found.shape[1] > 1:
        raise ValueError(f"{name} gave labels of shape {list(found.shape)}: give the number of the class of each row")
    if found.ndim == 2:
        found = found[:, 0]
    if found.dtype.kind not in "uib":
        raise ValueError(f"{name} gave labels of {found.dtype}: give the number of the class, a whole number from 0")
    if found.size and int(found.min()) < 0:
        raise ValueError(f"{name} gave the label {int(found.min())}: number the classes from 0")
    return found.astype(np.int64)


def _fetch(name: str, dataset: Any, collate: Callable[[list[Any]], Any] | None) -> Callable[[Sequence[int]], Batch]:
    def fetch(places: Sequence[int]) -> Batch:
        items = []
        for place in places:
            try:
                items.append(dataset[place])
            except (Exception, SystemExit) as error:  # the user's code
                raise ValueError(f"row {place} of {name} raised {type(error).__name__}: {error}") from error
        if collate is None:
            return _stacked(name, items, places)
        try:
            together = collate(items)
        except (Exception, SystemExit) as error:
            raise ValueError(f"collate_fn of {name} raised {type(error).__name__}: {error}") from error
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
        raise ValueError(f"{name} is a dictionary of {', '.join(map(str, item))}: give (input, label)")
    row = tuple(item) if isinstance(item, list | tuple) else (item,)
    if not 1 <= len(row) <= 3:
        raise ValueError(f"{name} holds {len(row)} things: give (input, label), or (input, label, group)")
    return row


def _batched(name: str, item: Any) -> tuple[Any, ...]:
    """What an iterable yields, as a batch: of a single row, whose label is one number, a batch of one."""
    if isinstance(item, Mapping):
        raise ValueError(f"{name} is a dictionary of {', '.join(map(str, item))}: give (inputs, labels)")
    parts = tuple(item) if isinstance(item, list | tuple) else (item,)
    if len(parts) > 1 and not isinstance(parts[1], str) and np.ndim(_plain(parts[1])) == 0 and parts[1] is not None:
        return (array(name, parts[0])[None], *([_plain(part)] for part in parts[1:]))
    return parts


def _plain(value: Any) -> Any:
    """A number alone, out of a tensor or array of one."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _sampled(name: str, loader: Any) -> Sequence[int]:
    """The places that a loader's sampler may draw, in order."""
    from torch.utils.data import RandomSampler, SequentialSampler

    rows = _length(name, loader.dataset)
    sampler = loader.sampler if loader.batch_sampler is None else getattr(loader.batch_sampler, "sampler", None)
    if isinstance(sampler, SequentialSampler | RandomSampler) and not getattr(sampler, "replacement", False):
        return range(rows)
    drawn = [int(one) for batch in loader.batch_sampler for one in batch] if sampler is None else [*map(int, sampler)]
    places = sorted(set(drawn))
    if len(places) < len(drawn):
        raise ValueError(f"the sampler of {name} draws rows more than once: give the data set itself")
    return places


def _length(name: str, dataset: Any) -> int:
    try:
        return len(dataset)
    except (Exception, SystemExit) as error:  # the user's code; Dataset has __getitem__ and may lack __len__
        raise ValueError(f"{name} cannot say how many rows it has ({type(error).__name__}: {error})") from error


def _is_array(one: Any) -> bool:
    return hasattr(one, "shape") and hasattr(one, "dtype") and hasattr(one, "ndim")


def _told(made: Any) -> str:
    return f"a {type(made).__name__}" if made is not None else "nothing (does it lack a return?)"
