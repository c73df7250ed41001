"""A guide that knows no joules: pruning by the modelled seconds, against times worked out by hand from the shapes."""

import functools

import pytest
import torch
from profiles import planted_profile, planted_times
from torch import nn

from joulemark import testing
from joulemark.energy.accelerator import Accelerator
from joulemark.energy.learned import Learned
from joulemark.techniques.pruning import energy_aware_pruning as eap
from joulemark.techniques.pruning.guide import by_layer, cost
from joulemark.techniques.technique import TechniqueError
from joulemark.workloads.workload import Workload


@functools.cache
def bench():
    made = testing.workbench("memory://guide")
    made.model = Learned(planted_times(), "learned:onnxruntime")
    return made


def seconds(net):
    """By the planted profile: 1 us + 0.1 ns a MAC of a convolution, 2 us + 1 ns a MAC of a linear layer."""
    found = []

    def see(layer, _, output):
        if isinstance(layer, nn.Conv2d):
            found.append(1e-6 + 1e-10 * layer.weight.numel() * output[0, 0].numel())
        elif isinstance(layer, nn.Linear):
            found.append(2e-6 + 1e-9 * layer.weight.numel())

    module = net.module()
    for layer in module.modules():
        layer.register_forward_hook(see)
    with torch.no_grad():
        module(torch.zeros(1, *net.input_shape))
    return sum(found)


def test_the_cost_is_seconds_where_there_are_no_joules():
    report = bench().energy(testing.baseline())
    assert report.joules.value is None
    assert cost(report) == pytest.approx(seconds(testing.baseline()))
    assert sum(by_layer(report).values()) == pytest.approx(cost(report))


def test_the_cost_is_joules_where_they_are_known():
    workload = bench().workload(testing.baseline())
    report = Accelerator().estimate(workload)
    assert cost(report) == report.joules.value == pytest.approx(sum(by_layer(report).values()))
    watts = Learned(planted_profile(watts=True)).estimate(workload)
    assert (watts.joules.value is None) == (watts.joules.reason is not None)


def test_a_model_that_knows_neither_is_refused():
    report = Learned(planted_times()).estimate(Workload(inputs=1, batch_size=1, operations=()))
    with pytest.raises(TechniqueError, match="knows neither joules nor seconds of this net"):
        cost(report)


@pytest.mark.parametrize("share", [0.7, 0.5])
def test_channels_are_cut_until_the_modelled_seconds_are_at_the_share(share):
    dense = testing.baseline()
    net = eap.prune_channels(dense, bench(), share * seconds(dense), 200, 1)
    assert seconds(net) / seconds(dense) == pytest.approx(share, abs=0.06)
    assert net.parameters() < dense.parameters()


def test_zeros_gain_no_seconds_and_the_sentence_says_what_does():
    dense = testing.baseline()
    with pytest.raises(
        TechniqueError, match=r"learned:onnxruntime sees no gain in weights that are zero; structure=ch"
    ):
        eap.prune(dense, bench(), 0.5 * seconds(dense), 200)


def test_the_notes_say_that_seconds_guided():
    own = testing.workbench("memory://guided")
    own.model = bench().model
    net = eap.energy_aware_pruning(
        testing.baseline(), own, energy_share=0.5, structure="channels", round_to=1, rounds=1, images=64
    )
    assert own.notes["guide"].startswith("modelled seconds of learned:onnxruntime, which knows no joules")
    assert own.notes["rounds"][0]["energy_share"] == pytest.approx(seconds(net) / seconds(testing.baseline()))
