"""Reading splits: one digest whatever the order of rows, random data sets found out, large ones not read."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from joulemark.data.own import reading
from joulemark.data.own.reading import read, read_all

RNG = np.random.default_rng(0)
INPUTS = RNG.integers(0, 256, (40, 2, 3), np.uint8)
LABELS = np.arange(40) % 4


def of(inputs, labels=None, groups=None):
    return read("x()", (inputs, labels, groups), random_allowed=False)


@given(st.permutations(range(40)))
def test_the_digest_does_not_depend_on_the_order_of_rows(order):
    groups = LABELS.astype(str)
    assert of(INPUTS, LABELS, groups).digest == of(INPUTS[order], LABELS[order], groups[order]).digest


def test_the_digest_tells_apart_what_differs():
    swapped = LABELS.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    changed = INPUTS.copy()
    changed[7, 1, 1] ^= 1
    given = [
        of(INPUTS, LABELS), of(INPUTS), of(INPUTS, swapped), of(changed, LABELS), of(INPUTS[1:], LABELS[1:]),
        of(INPUTS, LABELS, LABELS.astype(str)), of(INPUTS.reshape(40, 3, 2), LABELS),
        of(np.concatenate([INPUTS, INPUTS[:1]]), np.append(LABELS, 0)),
    ]  # fmt: skip
    assert len({one.digest for one in given}) == len(given)


def test_a_row_is_hashed_by_its_bytes():
    assert of(INPUTS).hashes[3].decode() == hashlib.sha256(INPUTS[3].tobytes()).hexdigest()[:32]


class Rows:
    """A data set of arrays; ``noise`` is added anew at each access; ``reads`` counts them."""

    def __init__(self, noise=0.0):
        self.noise, self.reads = noise, 0

    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, row):
        self.reads += 1
        return INPUTS[row] / 255 + self.noise * np.random.default_rng().normal(), int(LABELS[row])


def test_all_ways_to_give_rows_give_one_digest():
    inputs = (INPUTS / 255).astype(np.float32)
    ways = [(inputs, LABELS), Rows(), DataLoader(Rows(), 7, shuffle=True), iter([(inputs, LABELS)])]
    assert len({read("x()", one, random_allowed=False).digest for one in ways}) == 1


def test_a_random_data_set_is_refused_where_nets_are_judged_and_told_where_they_train():
    with pytest.raises(ValueError, match=r"validation\(\) gives other inputs each time .* leave random changes out"):
        read("validation()", Rows(0.1), random_allowed=False)
    given = read("train()", Rows(0.1), random_allowed=True)
    assert len(given) == 40
    assert len(given.warnings) == 1
    assert "train() gives other inputs each time it is read: one draw is kept" in given.warnings[0]
    assert read("train()", Rows(), random_allowed=True).warnings == ()


def test_what_is_too_large_is_read_when_needed_and_has_the_digest_of_all_its_rows(monkeypatch):
    data = Rows()
    whole = read("train()", data, random_allowed=True)
    monkeypatch.setattr(reading, "_free_bytes", lambda: 100)
    given = read("train()", data, random_allowed=True)
    assert (given.lazy, whole.lazy) == (True, False)
    assert (given.digest, given.shape, given.kind) == (whole.digest, (2, 3), whole.kind)
    np.testing.assert_array_equal(given.labels, LABELS)
    np.testing.assert_allclose(given.inputs.fetch([5]).inputs[0], INPUTS[5] / 255, rtol=1e-6)


def endless():
    while True:
        yield INPUTS, LABELS


def test_an_endless_iterable_is_read_to_the_rows_that_it_may_have():
    with pytest.raises(ValueError, match=r"train\(\) gave more than 100 rows and did not end"):
        read("train()", endless(), random_allowed=True, most=100)


@pytest.mark.parametrize("made", [(INPUTS[:0], LABELS[:0]), [], iter([]), DataLoader(Rows(), 4, sampler=[])])
def test_an_empty_split_is_refused(made):
    with pytest.raises(ValueError, match=r"test\(\) gave no rows"):
        read("test()", made, random_allowed=False)


def test_a_folder_of_pictures_brings_its_classes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        image.fromarray(INPUTS[0]).save(tmp_path / name / "1.png")
    given = read("train()", tmp_path, random_allowed=False)
    assert given.classes == ("a", "b")
    assert given.shape == (1, 2, 3)
    assert given.labels.tolist() == [0, 1]
    assert read("train()", str(tmp_path), random_allowed=False).digest == given.digest


def both(train, test):
    return read_all({"train": lambda: train, "test": lambda: test})


def test_each_function_is_called_once_and_prints_nowhere(capsys):
    calls = []
    given = read_all({"test": lambda: sys.stdout.write("reading\n") and (calls.append(1) or (INPUTS, LABELS))})
    assert calls == [1]
    assert list(given) == ["test"]
    assert capsys.readouterr() == ("", "reading\n")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ((INPUTS[:, :1], LABELS), r"test() gives rows of shape [1, 3] and train() of [2, 3]: give one shape"),
        ((INPUTS,), "train() gives labels and test() gives none: give all of them labels, or none"),
    ],
    ids=["shape", "labels"],
)
def test_splits_that_do_not_fit_together_get_one_sentence(test, said):
    with pytest.raises(ValueError, match="train") as refused:
        both((INPUTS, LABELS), test)
    assert str(refused.value) == said


def test_folders_with_other_classes_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("train/a", "train/b", "test/a"):
        (tmp_path / name).mkdir(parents=True)
        image.fromarray(INPUTS[0]).save(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=r"test\(\) has the classes a and train\(\) has a, b: give the same folders"):
        both(tmp_path / "train", tmp_path / "test")


@pytest.mark.parametrize("error", [RuntimeError("no disk"), SystemExit("no disk")])
def test_a_function_that_raises_is_named(error):
    def fail():
        raise error

    with pytest.raises(ValueError, match=rf"test\(\) raised {type(error).__name__}: no disk"):
        read_all({"test": fail})
