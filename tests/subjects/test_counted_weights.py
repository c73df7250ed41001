"""Weights of any module: what it learned and what it computes with, wherever they are kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from joulemark.profiling.opening import opened_module
from joulemark.subjects.counted_weights import parameters_and_nonzeros


def pair() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False)).eval()


class Checkered(nn.Module):
    """Every other weight is none."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (torch.arange(weight.numel()) % 2).view_as(weight)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.95))
def test_zeros_of_masks_count_before_and_after_they_are_made_permanent(share):
    net = pair()
    for layer in (net[0], net[2]):
        prune.l1_unstructured(layer, "weight", amount=share)
    masked = parameters_and_nonzeros(net)
    kept = sum(int(layer.weight_mask.sum()) for layer in (net[0], net[2]))
    assert masked == (8 * 27 + 8 + 4 * 72, kept + 8)
    for layer in (net[0], net[2]):
        prune.remove(layer, "weight")
    assert parameters_and_nonzeros(net) == masked


def test_masks_count_even_if_the_net_has_not_run_since():
    net = pair()
    prune.random_structured(net[0], "weight", amount=3, dim=0)
    net[0].weight_orig.data.fill_(1.0)
    assert parameters_and_nonzeros(net)[1] == 5 * 27 + 8 + 4 * 72


def test_a_parametrization_counts_as_the_weight_that_it_makes():
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", Checkered())
    assert parameters_and_nonzeros(layer) == (15, 6 + 3)
    assert parameters_and_nonzeros(nn.Sequential(layer, nn.Linear(3, 1, bias=False))) == (18, 6 + 3 + 3)


def test_a_weight_of_two_originals_is_used_once():
    layer = parametrizations.weight_norm(nn.Linear(4, 3, bias=False))
    assert parameters_and_nonzeros(layer) == (12 + 3, 12)


def test_a_shared_weight_counts_once():
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    assert parameters_and_nonzeros(nn.Sequential(one, other)) == (9 + 3 + 3, 15)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_counts_as_the_module_that_it_was_made_of(frozen):
    net = pair()
    net[2].weight.data[0] = 0
    script = torch.jit.trace(net, torch.zeros(1, 3, 8, 8))
    assert parameters_and_nonzeros(torch.jit.freeze(script) if frozen else script) == parameters_and_nonzeros(net)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_module_executes_what_the_module_does():
    net, x = pair(), torch.randn(2, 3, 8, 8)
    script = torch.jit.trace(net, torch.zeros(1, 3, 8, 8))
    for module in (script, torch.jit.freeze(script)):
        work = opened_module("net", "net", module, (3, 8, 8)).record(x, 1)
        assert work.macs_per_input == 8 * 27 * 36 + 4 * 72 * 16
        assert not work.unknown


def test_weights_without_values_are_one_sentence():
    with pytest.raises(ValueError, match=r"^has weights without values \(device meta\): build it on the processor$"):
        parameters_and_nonzeros(nn.Linear(3, 2, device="meta"))


def test_a_module_without_weights_has_none():
    assert parameters_and_nonzeros(nn.ReLU()) == (0, 0)
