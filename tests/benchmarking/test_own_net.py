"""The net that a user gives: taken bit for bit, and what is no such net is told in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from joulemark import vocabulary
from joulemark.benchmarking.own_net import PICKLES, classes_of, own_net, predicted_by, weights_digest
from joulemark.nets import own_nets
from joulemark.nets.net import Net

LABEL = "user/mine"
ROWS = np.random.default_rng(0).normal(size=(8, 1, 2, 2)).astype(np.float32)


pytestmark = pytest.mark.usefixtures("own_registrations")


def give(thing) -> None:
    vocabulary.register_live("builder", LABEL, lambda: thing)
    own_nets.remember_source(LABEL, "s")


def plain(bias=0.0) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    nn.init.constant_(module[3].bias, bias)
    return module


def test_a_module_is_taken_bit_for_bit_and_as_it_answers_in_evaluation():
    module = plain().train()
    give(module)
    net = own_net(LABEL, ROWS)
    assert (net.builder, net.source, net.input_shape) == (LABEL, "s", (1, 2, 2))
    for name, tensor in module.state_dict().items():
        assert torch.equal(net.state[name], tensor)
    expected = module.eval()(torch.from_numpy(ROWS))
    assert torch.equal(net.module()(torch.from_numpy(ROWS)), expected)
    np.testing.assert_array_equal(predicted_by(net, ROWS), expected.argmax(1))


def test_a_net_of_ours_and_its_file_are_taken(tmp_path):
    net = Net.new("lenet", (1, 28, 28), seed=0)
    rows = np.zeros((2, 1, 28, 28), np.float32)
    path = tmp_path / "net.safetensors"
    path.write_bytes(net.to_bytes())
    for thing in (net, path, str(path)):
        give(thing)
        assert own_net(LABEL, rows).hash == net.hash


def test_a_net_for_other_inputs_is_refused_as_such(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(Net.new("lenet", (1, 28, 28), seed=0).to_bytes())
    give(path)
    with pytest.raises(ValueError, match=r"takes inputs of shape \[1, 28, 28\], and yours are \[1, 2, 2\]$"):
        own_net(LABEL, ROWS)


@pytest.mark.parametrize("ending", PICKLES)
def test_no_pickle_is_opened(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    path.write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    give(path)
    with pytest.raises(ValueError, match=rf"the path net\{ending}, which may be a pickle"):
        own_net(LABEL, ROWS)


def test_classes_are_the_outputs():
    assert classes_of(plain(), ROWS) == 3
    with pytest.raises(ValueError, match=r"answers 8 inputs with a tensor of shape \[8, 1\]"):
        classes_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), ROWS)
    with pytest.raises(ValueError, match=r"on inputs of shape \[1, 2, 2\], raised RuntimeError"):
        classes_of(nn.Linear(4, 3), ROWS)


def test_the_digest_is_of_the_weights_alone():
    digests = []
    for module in (plain(), plain(), plain(bias=1e-7), nn.Sequential(*plain().children(), nn.Identity())):
        give(module)
        digests.append(weights_digest(own_net(LABEL, ROWS)))
    assert digests[0] == digests[1] == digests[3] != digests[2]
