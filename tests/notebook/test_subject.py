"""What a session hands over: names, nets, modules, shapes and inputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from joulemark.nets.net import Net
from joulemark.notebook.subject import in_evaluation, named, needed_shape, real_inputs, shape_of_one


def test_names_and_paths_are_names_and_nets_have_none():
    assert named("lenet") == "lenet"
    assert named(Path("a") / "b.onnx") == "a/b.onnx"
    assert named(nn.ReLU()) is None
    assert named(Net.new("lenet", (1, 28, 28), seed=0)) is None


def test_a_shape_is_that_given_or_that_the_module_states():
    module = nn.ReLU()
    assert needed_shape(module, (3, 8, 8)) == (3, 8, 8)
    module.INPUT_SHAPE = [1, 4]
    assert needed_shape(module, None) == (1, 4)
    assert shape_of_one(torch.Size([1, 2])) == (1, 2)


@pytest.mark.parametrize("images", [torch.ones(2, 3, dtype=torch.float64, requires_grad=True), [[1, 1, 1], [1, 1, 1]]])
def test_inputs_of_any_kind_are_float32(images):
    rows = real_inputs(images, (3,))
    assert rows.dtype == np.float32
    assert rows.tolist() == np.ones((2, 3)).tolist()


def test_the_module_given_stays_as_it_is():
    module = nn.Sequential(nn.Linear(2, 2)).train()
    copy = in_evaluation(module)
    assert not copy.training
    assert module.training
    assert copy[0].weight is not module[0].weight
    assert torch.equal(copy[0].weight, module[0].weight)


class Uncopied(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: named(5), "give a net's name, a file, a joulemark.Net or a torch module, not int: 5"),
        (lambda: shape_of_one("3,8,8"), "is no shape of one input"),
        (lambda: shape_of_one((0,)), "is no shape of one input"),
        (lambda: needed_shape(nn.ReLU(), None), "needs the shape of one input"),
        (lambda: real_inputs([["a"]], None), "takes a tensor or array of numbers"),
        (lambda: real_inputs(np.zeros(3), None), r"has shape \(3,\): give"),
        (lambda: real_inputs(np.zeros((0, 3)), None), "one input at least"),
        (lambda: real_inputs(np.zeros((2, 3)), (4,)), r"has shape \(2, 3\), the net takes \(inputs, 4\)"),
        (lambda: real_inputs([[float("nan")]], None), "not finite"),
        (lambda: in_evaluation(Uncopied()), "cannot be copied"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(call, why):
    with pytest.raises(ValueError, match=why) as error:
        call()
    assert "\n" not in str(error.value)
