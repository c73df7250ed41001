"""The digest of data: of images of bytes it is what it always was; of others everything that matters changes it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from joulemark.data.digests import digest
from joulemark.data.source import Source

RNG = np.random.default_rng(0)
LABELS, GROUPS = np.arange(6), np.arange(6) // 2
INPUTS = RNG.integers(-99, 99, (6, 2, 4)).astype(np.int16)
SOURCE = Source((INPUTS, LABELS), groups=GROUPS)


def test_images_of_bytes_by_hand():
    rows = sorted(hashlib.sha256(bytes([n]) + bytes([n, 0])).digest() for n in (1, 2))
    images = np.array([[[[2, 0]]], [[[1, 0]]]], np.uint8)
    one = hashlib.sha256(b"".join(rows))
    pair = (images, np.array([2, 1]))
    assert digest(Source(pair)) == one.hexdigest()
    both = hashlib.sha256(one.digest() + hashlib.sha256(rows[0]).digest())
    label = 1 if rows[0] == hashlib.sha256(bytes([1, 1, 0])).digest() else 2
    alone = (np.array([[[[label, 0]]]], np.uint8), np.array([label]))
    assert digest(Source(pair, alone)) == both.hexdigest()


def test_the_order_of_rows_and_of_bytes_does_not_matter():
    order = RNG.permutation(6)
    assert digest(Source((INPUTS[order], LABELS[order]), groups=GROUPS[order])) == digest(SOURCE)
    assert digest(Source((INPUTS.astype(">i2"), LABELS), groups=GROUPS)) == digest(SOURCE)


def other(what: str) -> Source:
    inputs, labels, groups, given = INPUTS.copy(), LABELS.copy(), GROUPS.copy(), None
    if what == "value":
        inputs[3, 1, 2] += 1
    elif what == "label":
        labels[3] += 1
    elif what == "large label":
        labels[3] += 256
    elif what == "group":
        groups[3] += 1
    elif what == "given":
        given = np.array(["train"] * 6)
    return Source((inputs, labels), groups=None if what == "no groups" else groups, given=given)


@pytest.mark.parametrize("what", ["value", "label", "large label", "group", "no groups", "given"])
def test_any_change_is_noticed(what):
    assert digest(other(what)) != digest(SOURCE)


def test_the_same_bytes_in_another_type_or_shape_are_other_data():
    plain = [
        Source((INPUTS, LABELS)),
        Source((INPUTS.view(np.uint16), LABELS)),
        Source((INPUTS.reshape(6, 4, 2), LABELS)),
        Source((INPUTS.reshape(6, 8), LABELS)),
        Source((INPUTS.view(np.uint8), LABELS)),
        Source((INPUTS.view(np.uint8).reshape(6, 1, 4, 4), LABELS)),
    ]
    assert len({digest(one) for one in plain}) == len(plain)


def test_given_splits_are_hashed_row_by_row():
    names = [np.array(["train", "test"] * 3), np.array(["test", "train"] * 3)]
    assert len({digest(Source((INPUTS, LABELS), given=one)) for one in names}) == 2
