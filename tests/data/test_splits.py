"""Splits by content: exact sizes, disjoint, the same whatever the order of the file."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.data import load, readers
from joulemark.data.dealing import shares
from joulemark.data.digests import digest
from joulemark.data.source import NAMES, Source
from joulemark.data.splits import UNPINNED, _scaled, split
from joulemark.task import Recipe, Splits, Task
from joulemark.testing import TASK

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 2, 3, 3), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.int64) % 3
SOURCE = Source((IMAGES, LABELS))
SIZES = {"train": 24, "policy": 6, "validation": 9, "test": 12}


def task(**changes) -> Task:
    recipe = Recipe(builder="lenet", epochs=1, batch_size=8, learning_rate=0.1)
    usual = {
        "name": "t", "title": "T", "data": "made", "data_sha256": digest(SOURCE), "splits": Splits(**SIZES),
        "input_shape": (2, 3, 3), "classes": 3, "mean": (0.5, 0.25), "deviation": (0.5, 2.0), "recipe": recipe,
    }  # fmt: skip
    return Task(**{**usual, **changes})


def pixels(split_images: np.ndarray) -> list[bytes]:
    """Images back from their scaled form."""
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in ((0.5, 0.25), (0.5, 2.0)))
    return [np.rint((image * deviation + mean) * 255).astype(np.uint8).tobytes() for image in split_images]


def test_sizes_are_exact_stratified_and_disjoint():
    found = split(task(), SOURCE)
    assert tuple(found) == NAMES
    seen: set[bytes] = set()
    for name, size in SIZES.items():
        part = found[name]
        assert len(part.images) == len(part.labels) == size
        assert np.bincount(part.labels).tolist() == [size // 3] * 3
        mine = set(pixels(part.images))
        assert len(mine) == size
        assert not mine & seen
        seen |= mine
    assert seen <= {image.tobytes() for image in IMAGES}


def test_labels_stay_with_their_images():
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    for part in split(task(), SOURCE).values():
        assert [label_of[image] for image in pixels(part.images)] == part.labels.tolist()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(60)))
def test_the_order_of_the_file_does_not_matter(order):
    straight, shuffled = split(task(), SOURCE), split(task(), Source((IMAGES[order], LABELS[order])))
    for name in NAMES:
        assert np.array_equal(straight[name].images, shuffled[name].images)
        assert np.array_equal(straight[name].labels, shuffled[name].labels)


def test_an_image_stays_in_its_split_when_another_class_is_left_out():
    first = set(pixels(split(task(), SOURCE)["test"].images))
    kept = LABELS < 2
    sizes = Splits(**{name: size * 2 // 3 for name, size in SIZES.items()})
    source = Source((IMAGES[kept], LABELS[kept]))
    fewer = task(classes=2, splits=sizes, data_sha256=digest(source))
    assert set(pixels(split(fewer, source)["test"].images)) < first


def test_values_are_scaled_per_channel():
    part = split(task(), SOURCE)["train"]
    assert part.images.dtype == np.float32
    assert part.labels.dtype == np.int64
    raw = np.frombuffer(pixels(part.images)[0], np.uint8).reshape(2, 3, 3)
    assert part.images[0, 0, 0, 0] == pytest.approx((raw[0, 0, 0] / 255 - 0.5) / 0.5, abs=1e-6)
    assert part.images[0, 1, 2, 1] == pytest.approx((raw[1, 2, 1] / 255 - 0.25) / 2.0, abs=1e-6)


def test_another_seed_gives_other_splits():
    first, second = (set(pixels(split(task(split_seed=s), SOURCE)["test"].images)) for s in (0, 1))
    assert first != second


def test_limit_keeps_the_first_of_each_split():
    full, cut = split(task(), SOURCE), split(task(limit_images=8), SOURCE)
    for name, size in SIZES.items():
        assert len(cut[name].labels) == min(8, size)
        assert np.array_equal(cut[name].images, full[name].images[:8])


@pytest.mark.parametrize("what", ["pixel", "label", "missing", "twice"])
def test_any_change_of_the_data_is_noticed(what):
    images, labels = IMAGES.copy(), LABELS.copy()
    if what == "pixel":
        images[17, 1, 2, 2] ^= 1
    elif what == "label":
        labels[17] = (labels[17] + 1) % 3
    elif what == "missing":
        images, labels = images[:-1], labels[:-1]
    else:
        images, labels = np.concatenate([images, images[:1]]), np.concatenate([labels, labels[:1]])
    with pytest.raises(ValueError, match="are not those of task 't'"):
        split(task(), Source((images, labels)))


def test_unpinned_data_are_taken_as_they_are():
    assert len(split(task(data_sha256=UNPINNED), SOURCE)["train"].labels) == 24


def test_too_few_images():
    with pytest.raises(ValueError, match="wants 63 images for train, policy, validation, test: there are 60"):
        split(task(splits=Splits(**{**SIZES, "test": 24})), SOURCE)


def test_images_of_another_shape():
    with pytest.raises(ValueError, match=r"the made images are \[2, 3, 3\]: task 't' has \[2, 9, 1\]"):
        split(task(input_shape=(2, 9, 1)), SOURCE)


def test_more_classes_than_the_task_has():
    with pytest.raises(ValueError, match="hold labels that are none of the 2 classes"):
        split(task(classes=2), SOURCE)


def test_a_class_that_is_missing_from_train():
    labels = np.r_[np.zeros(1), np.ones(29), np.full(30, 2)].astype(np.int64)
    source = Source((IMAGES, labels))
    with pytest.raises(ValueError, match="no training row of task 't' has label 0, so nothing could learn it"):
        split(task(data_sha256=digest(source)), source)


class TestInputsOfAnyKind:
    """Values as they are, but for bytes; scaled where the task says so."""

    INPUTS = RNG.normal(scale=1e4, size=(60, 3, 7))

    @pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
    @pytest.mark.parametrize("shape", [(60, 21), (60, 3, 7), (60, 3, 7, 1, 1)])
    def test_without_scaling_nothing_is_done_to_them(self, kind, shape):
        inputs = self.INPUTS.astype(kind).reshape(shape)
        found = split(
            task(data_sha256=UNPINNED, input_shape=shape[1:], mean=(), deviation=()), Source((inputs, LABELS))
        )
        rows = {row.astype(np.float32).tobytes() for row in inputs}
        for part in found.values():
            assert part.images.dtype == np.float32
            assert part.images.shape[1:] == shape[1:]
            assert {row.tobytes() for row in part.images} <= rows

    def test_bytes_are_divided_by_255_and_by_nothing_else(self):
        found = split(task(mean=(), deviation=()), SOURCE)["train"]
        assert {row.tobytes() for row in np.rint(found.images * 255).astype(np.uint8)} <= {r.tobytes() for r in IMAGES}

    def test_scaling_is_along_the_first_axis_of_any_rank(self):
        scaled = task(data_sha256=UNPINNED, input_shape=(3, 7), mean=(1.0, 2.0, 3.0), deviation=(1.0, 10.0, 100.0))
        plain = task(data_sha256=UNPINNED, input_shape=(3, 7), mean=(), deviation=())
        source = Source((self.INPUTS, LABELS))
        one, other = split(scaled, source)["test"].images, split(plain, source)["test"].images
        for channel in range(3):
            expected = (other[:, channel] - (1 + channel)) / 10**channel
            assert one[:, channel] == pytest.approx(expected, rel=1e-5)

    def test_what_does_not_fit_into_32_bits(self):
        inputs = self.INPUTS.copy()
        inputs[3] = 1e300
        with pytest.raises(
            ValueError, match="the made inputs do not fit into 32-bit numbers: scale them in their reader"
        ):
            split(task(data_sha256=UNPINNED, input_shape=(3, 7), mean=(), deviation=()), Source((inputs, LABELS)))

    def test_labels_beyond_255(self):
        labels = np.arange(60) % 2 * 700
        source = Source((self.INPUTS, labels.astype(np.int64)))
        wide = task(data_sha256=UNPINNED, input_shape=(3, 7), mean=(), deviation=(), classes=701)
        with pytest.raises(ValueError, match="no training row of task 't' has label 1"):
            split(wide, source)
        many = np.repeat(np.arange(300), 4)
        source = Source((RNG.normal(size=(1200, 2)), many))
        wide = task(
            data_sha256=UNPINNED, input_shape=(2,), mean=(), deviation=(), classes=300,
            splits=Splits(train=300, policy=300, validation=300, test=300),
        )  # fmt: skip
        assert sorted(split(wide, source)["test"].labels.tolist()) == list(range(300))


class TestOfficialTestSet:
    """Train, policy and validation from the training images, test from the test images."""

    TRAIN = (IMAGES[:39], LABELS[:39])
    # Classes of unequal size, as MNIST's; the first image is a training image as well.
    TEST = (IMAGES[np.r_[0, 39:60:2, 40]], LABELS[np.r_[0, 39:60:2, 40]])
    SOURCE = Source(TRAIN, TEST)

    def task(self, **sizes) -> Task:
        sizes = {"train": 25, "policy": 6, "validation": 7, "test": 13, **sizes}
        return task(splits=Splits(**sizes), data_sha256=digest(self.SOURCE))

    def test_all_of_it_is_the_test_split(self):
        found = split(self.task(), self.SOURCE)
        assert sorted(pixels(found["test"].images)) == sorted(image.tobytes() for image in self.TEST[0])
        assert np.bincount(found["test"].labels).tolist() == np.bincount(self.TEST[1]).tolist()

    def test_what_is_in_both_is_left_out_of_train(self):
        found = split(self.task(), self.SOURCE)
        others = [image for name in NAMES[:3] for image in pixels(found[name].images)]
        assert len(others) == len(set(others)) == 38
        assert set(others) == {image.tobytes() for image in self.TRAIN[0][1:]}
        with pytest.raises(ValueError, match="wants 39 images for train, policy, validation: there are 38"):
            split(self.task(train=26), self.SOURCE)

    def test_part_of_it_is_stratified(self):
        found = np.bincount(split(self.task(test=6), self.SOURCE)["test"].labels, minlength=3)
        assert found.tolist() == shares(6, np.bincount(self.TEST[1]).tolist())

    def test_order_does_not_matter_but_the_side_does(self):
        turned = Source((self.TRAIN[0][::-1], self.TRAIN[1][::-1]), (self.TEST[0][::-1], self.TEST[1][::-1]))
        straight, back = split(self.task(), self.SOURCE), split(self.task(), turned)
        for name in NAMES:
            assert np.array_equal(straight[name].images, back[name].images)
        assert digest(Source(self.TEST, self.TRAIN)) != digest(self.SOURCE) == digest(turned)

    def test_both_sets_have_one_shape(self):
        other = Source(self.TRAIN, (self.TEST[0][:, :1], self.TEST[1]))
        with pytest.raises(ValueError, match="the made images are"):
            split(self.task(), other)


def test_unknown_reader():
    with pytest.raises(ValueError, match="unknown data set 'mnist6k': did you mean 'mnist5k'"):
        load(task(data="mnist6k"))


class TestInstalledReader:
    """A reader of another package, found by its entry point."""

    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch):
        module = types.ModuleType("their_data")
        module.read = lambda: SOURCE
        monkeypatch.setitem(sys.modules, "their_data", module)
        entry = EntryPoint("theirs", "their_data", "joulemark.data")
        installed = {"joulemark.data": [entry]}
        monkeypatch.setattr("joulemark.vocabulary.entry_points", lambda group: installed.get(group, []))
        self.module = module

    def test_it_is_read(self):
        assert len(load(task(data="theirs"))["train"].labels) == 24

    def test_what_is_no_source_is_refused(self):
        self.module.read = lambda: (IMAGES, LABELS)
        with pytest.raises(ValueError, match=r"data set 'theirs' \(their_data\) gave tuple, not a Source"):
            load(task(data="theirs"))

    def test_it_cannot_replace_ours(self):
        assert readers()["mnist5k"] == "joulemark.data.mnist5k"


@pytest.mark.parametrize(("largest", "fits"), [(2**24, True), (2**24 + 1, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_float32_would_round_are_refused(largest, fits, sign):
    inputs = np.array([[0], [sign * largest]], np.int64)
    task = msgspec.structs.replace(TASK, mean=(), deviation=())
    if fits:
        assert _scaled(task, inputs).tolist() == inputs.tolist()
    else:
        with pytest.raises(ValueError, match="integers beyond 16,777,216, which 32-bit numbers would round"):
            _scaled(task, inputs)
