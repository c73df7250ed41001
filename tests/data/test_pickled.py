"""Pickled batches are read without running anything; whatever else a pickle asks for is refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joulemark.data.pickled import load_batch

ROWS = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
LABELS = [3, 1, 0, 9]
# The form of the published files, which Python 2 wrote: byte strings, and NumPy's old module name.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x06\x00\x7f\x80\xff\n\x01tbU\x06labels](K\x01K\x02eu."
)


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, function, *arguments):
        self.how = (function, arguments)

    def __reduce__(self):
        return self.how


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_pickles_is_read(protocol, order):
    content = pickle.dumps({"data": np.array(ROWS, order=order), "labels": LABELS, "more": "text"}, protocol=protocol)
    rows, labels = load_batch(content, "made")
    assert np.array_equal(rows, ROWS)
    assert rows.dtype == np.uint8
    assert labels.tolist() == LABELS
    assert labels.dtype == np.int64


def test_the_form_of_the_published_files():
    rows, labels = load_batch(PYTHON_2, "made")
    assert rows.tolist() == [[0, 127, 128], [255, 10, 1]]
    assert labels.tolist() == [1, 2]
    # NumPy's own reading of the same bytes, which are ours.
    by_numpy = pickle.loads(PYTHON_2.replace(b"numpy.core", b"numpy._core"), encoding="latin1")  # noqa: S301
    assert np.array_equal(by_numpy["data"], rows)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch PATH",), rf"{os.system.__module__}\.system"),
        (eval, ("open('PATH', 'w')",), r"(__builtin__|builtins)\.eval"),
        (open, ("PATH", "w"), r"_?io\.open"),
        (np.lib.format.open_memmap, ("PATH", "w+", "u1", (3,)), r"numpy.*open_memmap"),
        (getattr, (os, "system"), r"(__builtin__|builtins)\.getattr"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_runs_nothing(tmp_path, function, arguments, name, protocol):
    victim = tmp_path / "victim"
    if arguments[0] is os:
        arguments = ("os", "system")
    evil = Evil(function, *(a.replace("PATH", str(victim)) if isinstance(a, str) else a for a in arguments))
    content = pickle.dumps({"data": ROWS, "labels": LABELS, "evil": evil}, protocol=protocol)
    with pytest.raises(ValueError, match=rf"^made is no batch of CIFAR-10: it asks for {name}, which is refused$"):
        load_batch(content, "made")
    assert not victim.exists()


def test_attributes_of_what_is_allowed_are_not_reached():
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93."
    with pytest.raises(ValueError, match=r"asks for numpy\.ndarray\.dumps, which is refused"):
        load_batch(dotted, "made")


@pytest.mark.parametrize("name", [b"_codecs\nencode", b"numpy\ndtype", b"numpy\nndarray"])
def test_a_file_changes_nothing_for_the_next(name):
    """BUILD with the state (None, {"__new__": 1}) sets attributes of what is below it: here of a stand-in itself."""
    crafted = b"\x80\x02c" + name + b"\nN}U\x07__new__K\x01s\x86b."
    with pytest.raises(ValueError, match=r"^made "):
        load_batch(crafted, "made")
    test_what_numpy_pickles_is_read(2, "C")
    test_the_form_of_the_published_files()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1, 2], "no array of bytes named 'data'"),
        ({"data": [1], "labels": [1]}, "no array of bytes named 'data'"),
        ({"labels": LABELS}, "no array of bytes named 'data'"),
        ({"data": ROWS}, "no list of numbers named 'labels'"),
        ({"data": ROWS, "labels": ["a"] * 4}, "no list of numbers named 'labels'"),
        ({"data": ROWS, "labels": [1, 2, 3, 256]}, "no list of numbers named 'labels'"),
        ({"data": ROWS, "labels": [1]}, "made holds 4 images and 1 labels"),
        ({"data": ROWS.astype(np.int32), "labels": LABELS}, "asks for an array of 'i4', which is refused"),
        ({"data": np.array([["a"]], object), "labels": [1]}, "asks for an array of 'O8', which is refused"),
        ({"data": ROWS[0], "labels": LABELS}, r"asks for an array of shape \(6,\)"),
    ],
)
def test_what_is_no_batch_is_refused(held, said):
    with pytest.raises(ValueError, match=said):
        load_batch(pickle.dumps(held, protocol=2), "made")


def test_an_array_larger_than_its_bytes_is_refused():
    wrong = PYTHON_2.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86")
    with pytest.raises(ValueError, match=r"asks for an array of shape \(2, 4\) from 6 bytes"):
        load_batch(wrong, "made")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(PYTHON_2) - 1), st.integers(0, 255))
@example(0, 0)
def test_a_changed_byte_is_read_or_refused_never_anything_else(position, value):
    content = PYTHON_2[:position] + bytes([value]) + PYTHON_2[position + 1 :]
    try:
        rows, labels = load_batch(content, "made")
    except ValueError as error:
        assert str(error).startswith("made ")
    else:
        assert rows.ndim == 2
        assert len(rows) == len(labels)
