"""Operators that move values and compute shapes, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_answers import agrees, noise, one_node, write_nodes

from joulemark.nets.from_onnx import module_from_onnx
from joulemark.nets.onnx_shapes import PaddedSum, regrouped

SHAPE = (4, 6, 5)
WHOLE = np.int64


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((2, 16, 5, 5), (2, 400), [(0,), (1, 2, 3)]),
        ((1, 16, 5, 5), (1, 400), [(0,), (1, 2, 3)]),
        ((1, 16, 1, 1), (1, 16), [(0,), (1, 2, 3)]),
        ((2, 16), (2, 16, 1, 1), [(0,), (1,), None, None]),
        ((2, 1, 28, 28), (2, 28, 28), [(0,), (1, 2), (3,)]),
        ((2, 8, 3, 3), (2, 2, 4, 3, 3), [(0,), None, None, (2,), (3,)]),
        ((2, 3, 5), (6, 5), [(0, 1), (2,)]),
        ((2, 3, 32), (2, 1, 3, 32), [(0,), None, (1,), (2,)]),
    ],
)
def test_regrouped(before, after, expected):
    assert regrouped(before, after) == expected


@pytest.mark.parametrize("sizes", [(0, -1), (-1, 120), (0, 4, 30), (0, 2, 2, 6, 5), (0, 0, 0, 1, 5), (-1, 24, 5)])
def test_reshape(sizes, tmp_path):
    agrees(one_node(tmp_path / "r.onnx", "Reshape", ["n", *SHAPE], sizes=np.array(sizes, WHOLE)), SHAPE)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flatten(axis, tmp_path):
    agrees(one_node(tmp_path / "f.onnx", "Flatten", ["n", *SHAPE], settings={"axis": axis}), SHAPE)


def test_flatten_by_a_computed_shape(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["rows", "first"], ["list"]),
        helper.make_node("Slice", ["s", "one", "far"], ["rest"]),
        helper.make_node("ReduceProd", ["rest"], ["gone"]),  # nothing reads it
        helper.make_node("Mul", ["one", "minus"], ["all"]),
        helper.make_node("Concat", ["list", "all"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    numbers = {"zero": WHOLE(0), "first": [0], "one": [1], "far": [9], "minus": [-1]}
    constants = {name: np.asarray(number, WHOLE) for name, number in numbers.items()}
    module = agrees(write_nodes(tmp_path / "f.onnx", nodes, ["n", *SHAPE], **constants), SHAPE)
    assert len(module.order) == 1, "the rows need not be computed"


def test_a_shape_that_is_computed_stays_so_where_an_axis_is_divided(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["c"], start=1, end=2),
        helper.make_node("Div", ["c", "two"], ["half"]),
        helper.make_node("Cast", ["half"], ["cast"], to=7),
        helper.make_node("Concat", ["zero", "two", "cast", "minus"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    constants = {"two": np.array([2], WHOLE), "zero": np.array([0], WHOLE), "minus": np.array([-1], WHOLE)}
    module = agrees(write_nodes(tmp_path / "s.onnx", nodes, ["n", *SHAPE], **constants), SHAPE)
    assert len(module.order) == 5


@pytest.mark.parametrize("places", [2, [3, 0, 1]])
def test_gather(places, tmp_path):
    places = np.asarray(places, WHOLE)
    agrees(one_node(tmp_path / "g.onnx", "Gather", ["n", *SHAPE], settings={"axis": 1}, places=places), SHAPE)


@pytest.mark.parametrize(
    "bounds",
    [([1], [3], [1], [1]), ([0, -3], [9, 2**40], [2, 3], [2, 1]), ([-3], [-1], [-1], None)],
)
def test_slice(bounds, tmp_path):
    given = [None if one is None else np.array(one, WHOLE) for one in bounds]
    constants = dict(zip(("starts", "ends", "axes", "steps"), given, strict=True))
    agrees(one_node(tmp_path / "s.onnx", "Slice", ["n", *SHAPE], **constants), SHAPE)


@pytest.mark.parametrize("sizes", [[2, 2], [1, 3]])
def test_split_and_concat(sizes, tmp_path):
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Concat", ["b", "x", "a"], ["y"], axis=1),
    ]
    agrees(write_nodes(tmp_path / "s.onnx", nodes, ["n", *SHAPE], sizes=np.array(sizes, WHOLE)), SHAPE)


def test_transpose_squeeze_and_unsqueeze(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Unsqueeze", ["t", "axes"], ["u"]),
        helper.make_node("Squeeze", ["u", "last"], ["y"]),
    ]
    constants = {"axes": np.array([-1, 1], WHOLE), "last": np.array([-1], WHOLE)}
    agrees(write_nodes(tmp_path / "t.onnx", nodes, ["n", *SHAPE], **constants), SHAPE)


def test_expand(tmp_path):
    sizes = np.array([2, 1, 4, 1, 5], WHOLE)
    agrees(one_node(tmp_path / "e.onnx", "Expand", ["n", 4, 1, 5], sizes=sizes), (4, 1, 5))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode, tmp_path):
    pads = np.array([0, 0, 1, 2, 0, 0, 3, 0], WHOLE)
    value = np.float32(0.5) if mode == "constant" else None
    file = one_node(
        tmp_path / "p.onnx", "Pad", ["n", *SHAPE], opset=19, settings={"mode": mode}, pads=pads, value=value
    )
    agrees(file, SHAPE)


@pytest.mark.parametrize(("pads", "layer"), [([0, 2, 0, 0, 0, 1, 0, 0], True), ([0, 3, 1, 0, 0, 0, 0, 0], False)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_padded_shortcut_is_a_layer_that_says_how_many_channels(pads, layer, turned, tmp_path):
    sizes = [7, 6 + pads[2], 5]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1], pads=[pads[2], 0, 0, 0]),
        helper.make_node("Pad", ["x", "pads"], ["p"], name="node_short"),
        helper.make_node("Add", ["p", "c"] if turned else ["c", "p"], ["y"]),
    ]
    constants = {"pads": np.array(pads, WHOLE), "w": noise(sizes[0], 4, 1, 1)}
    module = agrees(write_nodes(tmp_path / "p.onnx", nodes, ["n", *SHAPE], **constants), SHAPE)
    found = {path: one.padding for path, one in module.named_modules() if isinstance(one, PaddedSum)}
    assert found == ({"short": (2, 1)} if layer else {})


@pytest.mark.parametrize(
    ("kind", "settings", "constants", "sentence"),
    [
        ("Gather", {}, {"places": np.zeros((2, 2), WHOLE)}, "gathers by a table"),
        ("Slice", {}, {"s": np.array([3]), "e": np.array([0]), "a": np.array([1]), "t": np.array([-1])}, "backwards"),
        ("Pad", {"mode": "edge"}, {"pads": np.array([0, 1, 0, 0, 0, 0, 0, 0])}, "pads rows or channels by edge"),
    ],
)
def test_refusals(kind, settings, constants, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        module_from_onnx(one_node(tmp_path / "r.onnx", kind, ["n", *SHAPE], settings=settings, **constants))


def test_constants_in_front_of_a_list_keep_their_axes(tmp_path):
    agrees(one_node(tmp_path / "a.onnx", "Add", ["n", *SHAPE], shift=noise(1, 4, 1, 1)), SHAPE)
