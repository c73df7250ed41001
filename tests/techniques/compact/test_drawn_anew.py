"""A narrower net with new weights, against PyTorch's own layers made narrower by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark import vocabulary
from joulemark.nets.net import Net
from joulemark.techniques.compact.drawn_anew import narrow_anew
from joulemark.techniques.technique import TechniqueError

LABEL = "user/mine"


pytestmark = pytest.mark.usefixtures("own_registrations")


def net_of(module: nn.Module, shape=(1, 8, 8)) -> Net:
    vocabulary.register_live("builder", LABEL, module.eval)
    return Net(builder=LABEL, input_shape=shape, source="s").with_state(module)


def chain(width: int, more: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, more, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(more * 36, 4),
    )  # fmt: skip


@pytest.mark.parametrize(("width", "channels"), [(0.5, (4, 3)), (0.25, (2, 2)), (0.1, (1, 1)), (0.9, (7, 5))])
def test_it_is_the_narrower_net_that_one_would_have_built(width, channels):
    wide = chain(8, 6)
    nn.init.constant_(wide[1].running_mean, 5.0)
    narrow = narrow_anew(net_of(wide), width, seed=3)
    torch.manual_seed(3)
    expected = chain(*channels).eval()
    found = narrow.module()
    assert {name: one.shape for name, one in narrow.state.items()} == {
        name: one.shape for name, one in expected.state_dict().items()
    }
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    rows = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(found(rows), expected(rows))


def test_the_seed_decides_and_nobody_elses_draws_change():
    net = net_of(chain(8, 6))
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first, again, other = (narrow_anew(net, 0.5, seed).hash for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


class Scaled(nn.Module):
    """A layer with a parameter that no one knows how to draw."""

    def __init__(self):
        super().__init__()
        self.inner = chain(8, 6)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.inner(x) * self.scale


def test_a_parameter_that_no_layer_draws_is_named():
    with pytest.raises(TechniqueError, match=r"cannot draw 'scale' anew: it is of a Scaled, which has no reset_param"):
        narrow_anew(net_of(Scaled()), 0.5, seed=0)


def test_a_net_without_channels_to_cut_has_no_width():
    with pytest.raises(TechniqueError, match="no channels that can be cut, so it has no width"):
        narrow_anew(net_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 4))), 0.5, seed=0)


class Offset(nn.Module):
    """Adds a trained number that no layer draws: a control that kept it would not begin from nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("learned", torch.tensor([0.25]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.learned


def test_a_trained_number_that_is_no_parameter_is_named():
    net = net_of(nn.Sequential(*chain(8, 6), Offset()))
    with pytest.raises(TechniqueError, match=r"cannot draw '7\.learned' anew"):
        narrow_anew(net, 0.5, seed=0)
