"""Splits by content: exact sizes, disjoint, the same whatever the order of the file."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.data import load
from joulemark.data.splits import NAMES, digest, split
from joulemark.task import Recipe, Splits, Task

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 2, 3, 3), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.int64) % 3
SIZES = {"train": 24, "policy": 6, "validation": 9, "test": 12}


def task(**changes) -> Task:
    recipe = Recipe(builder="lenet", epochs=1, batch_size=8, learning_rate=0.1)
    usual = {
        "name": "t", "title": "T", "data": "made", "data_sha256": digest(IMAGES, LABELS), "splits": Splits(**SIZES),
        "input_shape": (2, 3, 3), "classes": 3, "mean": (0.5, 0.25), "deviation": (0.5, 2.0), "recipe": recipe,
    }  # fmt: skip
    return Task(**{**usual, **changes})


def pixels(split_images: np.ndarray) -> list[bytes]:
    """Images back from their scaled form."""
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in ((0.5, 0.25), (0.5, 2.0)))
    return [np.rint((image * deviation + mean) * 255).astype(np.uint8).tobytes() for image in split_images]


def test_sizes_are_exact_stratified_and_disjoint():
    found = split(task(), IMAGES, LABELS)
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
    for part in split(task(), IMAGES, LABELS).values():
        assert [label_of[image] for image in pixels(part.images)] == part.labels.tolist()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(60)))
def test_the_order_of_the_file_does_not_matter(order):
    straight, shuffled = split(task(), IMAGES, LABELS), split(task(), IMAGES[order], LABELS[order])
    for name in NAMES:
        assert np.array_equal(straight[name].images, shuffled[name].images)
        assert np.array_equal(straight[name].labels, shuffled[name].labels)


def test_an_image_stays_in_its_split_when_another_class_is_left_out():
    first = set(pixels(split(task(), IMAGES, LABELS)["test"].images))
    kept = LABELS < 2
    sizes = Splits(**{name: size * 2 // 3 for name, size in SIZES.items()})
    fewer = task(classes=2, splits=sizes, data_sha256=digest(IMAGES[kept], LABELS[kept]))
    assert set(pixels(split(fewer, IMAGES[kept], LABELS[kept])["test"].images)) < first


def test_values_are_scaled_per_channel():
    part = split(task(), IMAGES, LABELS)["train"]
    assert part.images.dtype == np.float32
    assert part.labels.dtype == np.int64
    raw = np.frombuffer(pixels(part.images)[0], np.uint8).reshape(2, 3, 3)
    assert part.images[0, 0, 0, 0] == pytest.approx((raw[0, 0, 0] / 255 - 0.5) / 0.5, abs=1e-6)
    assert part.images[0, 1, 2, 1] == pytest.approx((raw[1, 2, 1] / 255 - 0.25) / 2.0, abs=1e-6)


def test_another_seed_gives_other_splits():
    first, second = (set(pixels(split(task(split_seed=s), IMAGES, LABELS)["test"].images)) for s in (0, 1))
    assert first != second


def test_limit_keeps_the_first_of_each_split():
    full, cut = split(task(), IMAGES, LABELS), split(task(limit_images=8), IMAGES, LABELS)
    for name, size in SIZES.items():
        assert len(cut[name].labels) == min(8, size)
        assert np.array_equal(cut[name].images, full[name].images[:8])


def test_digest_by_hand():
    rows = sorted(hashlib.sha256(bytes([n]) + bytes([n, 0])).digest() for n in (1, 2))
    images = np.array([[[[2, 0]]], [[[1, 0]]]], np.uint8)
    assert digest(images, np.array([2, 1])) == hashlib.sha256(b"".join(rows)).hexdigest()


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
        split(task(), images, labels)


def test_too_few_images_of_a_class():
    with pytest.raises(ValueError, match="wants more images of a class than the 20 there are"):
        split(task(splits=Splits(**{**SIZES, "test": 24})), IMAGES, LABELS)


def test_sizes_that_cannot_be_stratified():
    with pytest.raises(ValueError, match="the policy split is no multiple of 3 classes"):
        split(task(splits=Splits(**{**SIZES, "policy": 7})), IMAGES, LABELS)


def test_unknown_reader():
    with pytest.raises(ValueError, match="unknown data set 'mnist': did you mean 'mnist5k'"):
        load(task(data="mnist"))
