"""What a node says of itself and of its inputs."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.nets.onnx_node import Node

NODE = Node("Slice", "cut", {"axes": [1], "keep": 2}, ("x", "starts", ""), ("y",), constants={"starts": np.array([3])})


def test_inputs_may_be_left_out_constant_or_computed():
    assert [NODE.has(place) for place in range(4)] == [True, True, False, False]
    assert [NODE.is_constant(place) for place in range(3)] == [False, True, False]
    assert NODE.constant(2) is None
    with pytest.raises(ValueError, match=r"^Slice \(node cut\) computes its input 'x', which must be a constant$"):
        NODE.constant(0)


def test_numbers_are_settings_or_inputs():
    assert (NODE.numbers("axes"), NODE.numbers("keep"), NODE.numbers("starts", 1)) == ([1], [2], [3])
    assert (NODE.numbers("ends"), NODE.numbers("ends", 2)) == (None, None)
