"""Arrays, data sets, loaders and iterables as batches: the same rows in every way, and sentences for what is none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as made
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from joulemark.data.own.batches import CHUNK, array, arrays, as_batch, indexed, iterated

IMAGES = np.random.default_rng(0).normal(size=(CHUNK + 9, 1, 3, 3)).astype(np.float32)
LABELS = np.arange(len(IMAGES)) % 4
DATASET = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))


def gather(batches):
    parts = list(batches)
    return np.concatenate([one.inputs for one in parts]), np.concatenate([one.labels for one in parts])


class Stream(IterableDataset):
    """Rows one after another; ``length`` is what it says of itself."""

    def __init__(self, rows, length=None):
        self.rows = rows
        if length is not None:
            self.__class__ = type("Told", (Stream,), {"__len__": lambda self: length})

    def __iter__(self):
        return ((IMAGES[row], int(LABELS[row])) for row in range(self.rows))


WAYS = {
    "dataset": DATASET,
    "list of rows": [(image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)],
    "loader": DataLoader(DATASET, 32),
    "shuffling loader": DataLoader(DATASET, 32, shuffle=True),
    "loader that draws all in its own order": DataLoader(DATASET, 7, sampler=SubsetRandomSampler(range(len(IMAGES)))),
    "loader of batches": DataLoader(DATASET, batch_sampler=BatchSampler(RandomSampler(DATASET), 7, drop_last=False)),
    "loader with its own collate_fn": DataLoader(
        DATASET, 32, collate_fn=lambda rows: [torch.stack([row[0] for row in rows]), [row[1] for row in rows]]
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_has_places_is_read_in_their_order(way):
    rows = indexed("train()", WAYS[way])
    inputs, labels = gather(rows.batches())
    np.testing.assert_array_equal(inputs, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


STREAMS = {
    "generator of batches": lambda: ((IMAGES[k : k + 50], LABELS[k : k + 50]) for k in range(0, len(IMAGES), 50)),
    "generator of rows": lambda: zip(IMAGES, LABELS, strict=True),
    "rows with tensors as labels": lambda: iter(DATASET),
    "stream": lambda: Stream(len(IMAGES)),
    "loader of a stream": lambda: DataLoader(Stream(len(IMAGES)), 32),
    "loader of a stream that knows its length": lambda: DataLoader(Stream(len(IMAGES), len(IMAGES)), 32),
    "loader that makes no batches": lambda: DataLoader(DATASET, batch_size=None),
}


@pytest.mark.parametrize("way", STREAMS)
def test_what_has_none_is_read_to_its_end(way):
    stream = STREAMS[way]()
    assert arrays("train()", stream) is None
    assert indexed("train()", stream) is None
    inputs, labels = gather(iterated("train()", stream))
    np.testing.assert_array_equal(inputs, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_of_a_loader_with_a_sampler_only_its_rows_are_taken():
    rows = indexed("train()", DataLoader(DATASET, 4, sampler=SubsetRandomSampler([9, 2, 30])))
    np.testing.assert_array_equal(gather(rows.batches())[0], IMAGES[[2, 9, 30]])


class Endless:
    """A sampler that never ends."""

    def __iter__(self):
        while True:
            yield 0


class Fickle:
    """A sampler that draws another row each time."""

    drawn = 0

    def __iter__(self):
        Fickle.drawn += 1
        return iter([Fickle.drawn])


class Failing:
    """A sampler that fails."""

    def __iter__(self):
        raise RuntimeError("no draw")


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (WeightedRandomSampler([1.0] * 9, 4), "draws rows more than once"),
        (WeightedRandomSampler([1.0] * 9, 4, replacement=False), "draws rows more than once"),
        (RandomSampler(DATASET, replacement=True), "draws rows more than once"),
        (Endless(), "draws rows more than once"),
        (Fickle(), r"draws other rows each time: give a Subset"),
        (Failing(), r"the sampler of train\(\) raised RuntimeError: no draw"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else "",
)
def test_a_sampler_that_does_not_say_which_rows_is_refused(sampler, said):
    with pytest.raises(ValueError, match=said):
        indexed("train()", DataLoader(DATASET, 4, sampler=sampler))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((IMAGES, LABELS[:5]), "265 inputs and labels of shape [5]: give one a row"),
        ((IMAGES, LABELS, ["a"]), "265 inputs and groups of shape [1]: give one a row"),
        ((IMAGES, LABELS, 3), "gave a int as groups"),
        ((IMAGES, ["cat"] * len(IMAGES)), "labels such as 'cat': number the classes from 0"),
        ((IMAGES, [[1], [2, 3]]), "labels that are no array of whole numbers"),
        ((IMAGES, LABELS * 1.0), "labels of float64: give the number of the class"),
        ((IMAGES, np.eye(4)[LABELS]), "labels of shape [265, 4]: give the number of the class of each row"),
        ((IMAGES, LABELS - 1), "gave the label -1"),
        ((IMAGES, LABELS.astype(np.uint64) + np.uint64(2**63)), "gave the label 9223372036854775811"),
        ((IMAGES, LABELS, None, None), "gave 4 things"),
        ((np.arange(5), LABELS[:5]), "inputs of shape [5]: the first axis is that of the rows"),
        (([[1, 2], [3]], [0, 1]), "no array of numbers"),
        ((np.array([["a"]]), [0]), "inputs are numbers"),
        ((torch.eye(3).to_sparse(), [0, 1, 2]), "a tensor that cannot be read as an array"),
        ((torch.eye(3, dtype=torch.complex64), [0, 1, 2]), "of complex64: inputs are numbers"),
        ((DATASET,), "gave a TensorDataset, which is no array of numbers"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_arrays_that_do_not_fit_get_one_sentence(given, said):
    with pytest.raises(ValueError, match="train") as refused:
        arrays("train()", given)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "gave nothing (does it lack a return?)"),
        (7, "gave a int: give (inputs, labels)"),
        ({"image": IMAGES}, "gave a dict"),
        (iter([{"image": 1, "label": 2}]), "batch 0 of train() is a dictionary of image, label: give (inputs, labels)"),
        (iter([(IMAGES, LABELS), "x"]), "batch 1 of train() gave"),
        (iter([(IMAGES[0], "cat")]), "labels such as 'cat'"),
        (Stream(3, length=7), "says that its length is 7, and ended behind 3 rows"),
        (DataLoader(Stream(3, length=7), 2), "says that its length is 7, and ended behind 3 rows"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_gone_through_gets_one_sentence(given, said):
    with pytest.raises(ValueError, match="train") as refused:
        list(iterated("train()", given))
    assert said in str(refused.value)


def broken(error):
    yield IMAGES[:3], LABELS[:3]
    raise error


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("gone"), SystemExit("gone")])
def test_an_iterable_that_fails_says_behind_which_batch(error):
    with pytest.raises(ValueError, match=rf"batch 1 of train\(\) raised {type(error).__name__}: gone"):
        list(iterated("train()", broken(error)))


class Dying(IterableDataset):
    """Its workers fail."""

    def __iter__(self):
        raise OSError("disk gone")


def test_workers_that_fail_are_told_without_their_traceback():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork beside threads
        with pytest.raises(ValueError, match="batch 0") as refused:
            list(iterated("train()", DataLoader(Dying(), 2, num_workers=1)))
    assert str(refused.value) == "batch 0 of train() raised OSError: disk gone"


class Rows:
    """A data set of whatever rows it is given."""

    def __init__(self, *rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        if isinstance(self.rows[row], BaseException):
            raise self.rows[row]
        return self.rows[row]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (({"image": 1, "label": 2},), "row 0 of train() is a dictionary of image, label: give (input, label)"),
        (((IMAGES[0], 1), (IMAGES[0, :, :2], 1)), "row 1 of train() has shape [1, 2, 3], row 0 has [1, 3, 3]"),
        (((IMAGES[0], 1), (IMAGES[0],)), "row 1 of train() holds 1 things, row 0 holds 2"),
        (((IMAGES[0], 1), (IMAGES[0], "cat")), "number the classes from 0"),
        (((IMAGES[0], 1), KeyError("k")), "row 1 of train() raised KeyError: 'k'"),
        (((1, 2, 3, 4),), "row 0 of train() holds 4 things"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_data_set_says_which_row_is_wrong(rows, said):
    with pytest.raises(ValueError, match="train") as refused:
        list(indexed("train()", Rows(*rows)).batches())
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("collate", "said"),
    [
        (lambda rows: {"x": 1, "y": 2}, "collate_fn of train() gave a dictionary of x, y"),
        (lambda rows: (IMAGES[:2], LABELS[:2]), "collate_fn of train() made 2 rows of 4"),
        (lambda rows: 1 / 0, "collate_fn of train() raised ZeroDivisionError"),
    ],
    ids=["dictionary", "fewer", "raises"],
)
def test_a_collate_fn_that_is_wrong_gets_one_sentence(collate, said):
    rows = indexed("train()", DataLoader(Rows(*[(IMAGES[0], 1)] * 4), 4, collate_fn=collate))
    with pytest.raises(ValueError, match="collate_fn") as refused:
        list(rows.batches())
    assert said in str(refused.value)


class Unsized:
    """It has rows and does not know how many."""

    def __getitem__(self, row):
        return IMAGES[row], 1

    def __len__(self):
        raise NotImplementedError


def test_a_data_set_that_does_not_know_its_length_is_refused():
    with pytest.raises(ValueError, match=r"len\(train\(\)\) raised NotImplementedError"):
        indexed("train()", Unsized())


@settings(max_examples=30, deadline=None)
@given(made.arrays(st.sampled_from(["u1", "i2", "<i4", ">i4", "f2", "f4", ">f4", "f8", "?"]), (3, 2)))
def test_whole_numbers_stay_as_they_are_and_others_become_float32(numbers):
    found = array("x", numbers)
    assert found.dtype.isnative
    whole = numbers.dtype.kind in "iu"
    assert found.dtype == (numbers.dtype.newbyteorder("=") if whole else "u1" if numbers.dtype.kind == "b" else "f4")
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, numbers.astype(found.dtype))


def test_tensors_are_read_whatever_their_type():
    np.testing.assert_array_equal(array("x", torch.tensor([[1.5]], dtype=torch.bfloat16)), [[1.5]])
    np.testing.assert_array_equal(array("x", torch.nn.Parameter(torch.ones(2, 1))), np.ones((2, 1)))
    assert array("x", torch.zeros(2, 1, dtype=torch.int16)).dtype == np.int16


def test_pictures_become_channels_first():
    pillow = pytest.importorskip("PIL.Image")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(array("x", pillow.fromarray(pixels)), pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(array("x", pillow.fromarray(pixels[:, :, 0])), pixels[None, :, :, 0])


def test_whole_numbers_among_objects_are_labels():
    labels = np.array([3, np.int64(0), 2], object)
    assert as_batch("x", (IMAGES[:3], labels)).labels.tolist() == [3, 0, 2]
    for odd, told in ((1.5, "1.5"), (None, "None"), ("cat", "'cat'"), (float("nan"), "nan")):
        with pytest.raises(ValueError, match=f"labels such as {told}: number"):
            as_batch("x", (IMAGES[:3], np.array([1, odd, 2], object)))


@pytest.mark.parametrize(("groups", "told"), [(["a", None], "None"), ([1.0, float("nan")], "nan")])
def test_an_unknown_group_is_refused_by_its_row(groups, told):
    with pytest.raises(ValueError, match=rf"x gave the group {told} \(its row 1\): name the group of each row"):
        as_batch("x", (IMAGES[:2], LABELS[:2], groups))


def test_groups_are_names_whatever_they_were():
    assert as_batch("x", (IMAGES[:2], LABELS[:2], torch.tensor([7, 8]))).groups.tolist() == ["7", "8"]
    assert as_batch("x", (IMAGES[:2], None, ["a", "b"])).labels is None
