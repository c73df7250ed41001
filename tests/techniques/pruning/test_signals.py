"""Techniques that prune take a net of 1-D convolutions, and do to it what they do to one of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from joulemark import testing
from joulemark.backends.eager import Eager
from joulemark.backends.sparse import Sparse
from joulemark.nets.dependencies import channel_groups, keep
from joulemark.nets.net import Net
from joulemark.techniques.pruning import energy_aware_pruning
from joulemark.techniques.pruning.magnitude import prune
from joulemark.techniques.pruning.structured_sparsity import Folded, Lasso, _penalty, lengths
from joulemark.techniques.pruning.zero_groups import freeze, group_axes, remove
from joulemark.techniques.technique import TechniqueError, load_technique
from joulemark.testing.example import generated_task
from joulemark.testing.watched import workbench
from joulemark.training import Step, sgd
from joulemark.vocabulary import TABLES

SHAPE = (6, 40)


class Residual(nn.Module):
    """Two convolutions whose outputs are added to what they read."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm1d(channels)
        self.conv2, self.bn2 = nn.Conv1d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm1d(channels)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        return self.relu2(x + self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))

    def bypassed(self) -> nn.Module:
        """What is left without the convolutions: ``x`` is not negative."""
        return nn.Identity()


class Windows(nn.Sequential):
    """Windows of six channels; residual, depthwise, with three kinds of pooling."""

    def __init__(self, *, width: float = 1.0) -> None:
        c = max(1, round(8 * width))
        super().__init__(
            nn.Conv1d(6, c, 5, padding=2), nn.BatchNorm1d(c), nn.ReLU(), nn.MaxPool1d(2), Residual(c), nn.AvgPool1d(2),
            nn.Conv1d(c, c, 3, groups=c, bias=False), nn.BatchNorm1d(c), nn.ReLU(),
            nn.Conv1d(c, 2 * c, 1, bias=False), nn.BatchNorm1d(2 * c), nn.ReLU(),
            nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(4 * c, 5),
        )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _known_builder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES["builder"], "windows", f"{__name__}:Windows")
        yield


@pytest.fixture(scope="module")
def task(_known_builder):
    return generated_task("windows", input_shape=SHAPE)


@pytest.fixture(scope="module")
def net(task):
    return testing.baseline(task)


def ran(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x)


def zeros(net: Net) -> int:
    return sum(int((tensor == 0).sum()) for name, tensor in net.module().named_parameters() if tensor.dim() > 1)


def test_channels_of_a_residual_stream_and_of_a_depthwise_convolution_are_groups(net):
    groups = {group.name: group for group in channel_groups(net)}
    assert {name: group.channels for name, group in groups.items()} == {"0": 8, "4.conv1": 8, "9": 16}
    assert {member.layer for member in groups["0"].members} == {
        "0", "1", "4.conv1", "4.conv2", "4.bn2", "6", "7", "9"
    }  # fmt: skip
    places = [member.places for member in groups["9"].members if member.layer == "14"]
    assert len(places[0]) == 32  # two places of each channel are left by the last pooling


def test_channels_that_are_zero_are_cut_and_nothing_else_changes(net):
    module = net.module()
    with torch.no_grad():
        for layer in (module[0], module[1], module[4].conv2, module[4].bn2, module[6], module[7]):
            for tensor in layer.parameters():
                tensor[3] = 0.0
    dead, x = net.with_state(module), torch.randn(9, *SHAPE)
    cut = keep(dead, {"0": [0, 1, 2, 4, 5, 6, 7]})
    assert cut.module()[6].groups == 7
    torch.testing.assert_close(ran(cut.module(), x), ran(dead.module(), x), rtol=1e-4, atol=1e-5)


ZEROED = {
    "magnitude": {"sparsity": 0.5}, "random-pruning": {"sparsity": 0.5}, "two-four": {},
    "optimal-brain-damage": {"sparsity": 0.5}, "energy-aware-pruning": {"rounds": 1, "energy_share": 0.7},
    "deep-compression": {"sparsity": 0.5},
}  # fmt: skip
CUT = {
    "group-magnitude": {}, "optimal-brain-damage": {"structure": "channels", "sparsity": 0.5},
    "energy-aware-pruning": {"structure": "channels", "rounds": 1, "energy_share": 0.6}, "small-dense": {},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(energy_aware_pruning, "BISECTIONS", 4)


@pytest.mark.parametrize("name", ZEROED)
def test_weights_become_zero(name, net, task):
    technique = load_technique(name)
    made = technique(net, workbench(f"memory://{name}", task=task, technique=technique), **ZEROED[name])
    assert made.parameters() == net.parameters()
    assert zeros(made) > 0.2 * sum(tensor.numel() for tensor in net.state.values() if tensor.dim() > 1)
    assert any(made.module().get_parameter(f"{path}.weight").eq(0).any() for path in ("0", "4.conv1", "9"))


@pytest.mark.parametrize("name", CUT)
def test_channels_go(name, net, task):
    technique = load_technique(name)
    made = technique(net, workbench(f"memory://cut-{name}", task=task, technique=technique), **CUT[name])
    assert made.parameters() < 0.9 * net.parameters()
    assert ran(made.module(), torch.randn(2, *SHAPE)).shape == (2, 5)


def test_shapes_of_filters_are_those_of_images(net, task):
    """Lowering is defined on patches of images: of a net without any, one sentence says that it cannot be done."""
    technique = load_technique("structured-sparsity")
    with pytest.raises(TechniqueError, match="groups=shapes, and this net has none that can be cut"):
        technique(net, workbench("memory://shapes", task=task, technique=technique), groups="shapes")


@pytest.mark.parametrize("update", ["subgradient", "proximal"])
def test_the_lasso_shrinks_what_can_be_cut_and_no_more(net, update):
    """A step with no gradient but the penalty's: what runs of a group becomes shorter."""
    module = net.module()
    lasso = Lasso(_penalty(net, "filters"), 0.05, proximal=update == "proximal")
    groups = [(layer, norm) for layer, norm in ((module[4].conv1, module[4].bn1), (module[9], module[10]))]
    before = [lengths([Folded(layer.weight, norm)], (1, 2)).detach() for layer, norm in groups]
    stream = module[0].weight.detach().clone()
    optimiser = sgd(0.1, momentum=0.0)(module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step = Step(module, optimiser, progress=0.0, epoch=0, step=0)
    lasso.after_backward(step)
    optimiser.step()
    lasso.after_step(step)
    for (layer, norm), length in zip(groups, before, strict=True):
        assert length.shape == (len(layer.weight), 1, 1)
        assert bool((lengths([Folded(layer.weight, norm)], (1, 2)) < length).all())
    assert torch.equal(module[0].weight, stream)  # made together with the block's second convolution


@pytest.mark.parametrize("groups", ["filters", "filters+channels", "depth"])
def test_what_is_zero_is_taken_out_and_the_net_computes_the_same(net, groups):
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    if groups == "depth":
        for name in (name for name in state if name.startswith("4.")):
            state[name] = torch.zeros_like(state[name])
    else:
        state["4.conv1.weight"][[1, 5]] = 0.0
        state["9.weight"][3] = 0.0
    frozen = freeze(net.replace(state=state), groups)
    small, x = remove(frozen, groups), torch.randn(9, *SHAPE)
    assert small.parameters() < net.parameters()
    torch.testing.assert_close(ran(small.module(), x), ran(frozen.module(), x), rtol=1e-4, atol=1e-5)
    assert group_axes(state["9.weight"], "filters") == (1, 2)


def test_backends_run_it_alike(net):
    pruned = prune(net, 0.6)
    x = np.random.default_rng(0).standard_normal((5, *SHAPE), dtype=np.float32)
    expected = Eager().compile(pruned, threads=1).run(x)
    for options in (("channels_last",), ("bf16", "channels_last")):
        found = Eager(options).compile(pruned, threads=1).run(x)
        np.testing.assert_allclose(found, expected, atol=(0.05 if "bf16" in options else 1e-5) * np.abs(expected).max())
    assert "in groups" in Sparse().simulated(pruned)  # the depthwise convolution
    plain = pruned.replace(masks={name: mask for name, mask in pruned.masks.items() if not name.startswith("6.")})
    assert Sparse().simulated(plain) is None
    np.testing.assert_allclose(
        Sparse().compile(plain, threads=1).run(x), Eager().compile(plain, threads=1).run(x), rtol=1e-4, atol=1e-5
    )
