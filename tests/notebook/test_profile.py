"""`joulemark.profile`: the figures of the command, for whatever a session holds."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.energy.model import energy_model
from joulemark.nets.net import Net
from joulemark.notebook.profile import profile
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import profile_net

SHAPE = (3, 8, 8)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))


def test_a_name_gives_what_the_command_prints():
    made, asked = profile("lenet"), profile_net(open_net("lenet"), [energy_model("row-stationary")])
    assert msgspec.to_builtins(made) == msgspec.to_builtins(asked)
    assert "lenet: inputs of 1x28x28, batch 1, 1 random input" in repr(made)
    assert "Modelled, not measured, and not this machine." in str(made)
    assert made._repr_html_().startswith("<iframe sandbox srcdoc=")


def test_a_module_executes_the_macs_that_torch_counts():
    module = plain()
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *SHAPE))
    made = profile(module, shape=SHAPE, models=["row-stationary", energy_model("systolic")])
    assert made.proxies["macs_per_input"] == counter.get_total_flops() // 2
    assert [one.model for one in made.models] == ["row-stationary", "systolic"]
    assert made.net == "Sequential"
    assert module.training  # as it was


def test_real_inputs_bring_their_shape_and_their_zeros():
    half = torch.randn(6, *SHAPE)
    half[:, :, ::2] = 0
    made = profile(plain(), images=half, batch_size=3)
    assert (made.input_shape, made.inputs, made.batch_size, made.random) == (SHAPE, 6, 3, False)
    assert "batch 3, 6 given inputs" in repr(made)
    assert "random" not in repr(made)
    dense = profile(plain(), images=half + 1.0, batch_size=3)
    assert made.models[0].joules.value < dense.models[0].joules.value  # the model skips zeros of inputs


def test_a_net_of_ours_is_profiled_as_it_is():
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.5)
    assert profile(net).proxies["parameters"] == net.parameters()
    assert profile(net, images=torch.zeros(1, 1, 28, 28)).inputs == 1


@pytest.mark.parametrize(
    ("subject", "options", "why"),
    [
        ("lenett", {}, "unknown net 'lenett': did you mean 'lenet'"),
        (plain(), {}, "needs the shape of one input, as shape="),
        (plain(), {"shape": (1, 8, 8)}, "does not run on inputs of shape"),
        (plain(), {"shape": SHAPE, "images": torch.zeros(1, 3, 9, 9)}, "the net takes"),
        ("lenet", {"images": torch.zeros(3, 1, 28, 28), "batch_size": 2}, "no whole batches of 2"),
        ("lenet", {"batch_size": 0}, "batch_size=0: give a whole number"),
        ("lenet", {"batch_size": 10**9}, "give a whole number, 1 to 4096"),
        ("lenet", {"models": "row"}, "unknown energy model 'row': did you mean 'row-stationary"),
        ("lenet", {"models": []}, "name one model at least"),
        ("lenet", {"models": ["systolic", "systolic"]}, "each once"),
        ("lenet", {"models": 5}, "5 is no energy model"),
        (Net.new("lenet", (1, 28, 28), seed=0), {"shape": (3, 28, 28)}, "does not fit the net"),
        (5, {}, "not int"),
    ],
)
def test_what_cannot_be_profiled_is_refused_in_one_sentence(subject, options, why):
    with pytest.raises(ValueError, match=why) as error:
        profile(subject, **options)
    assert "\n" not in str(error.value)
