"""A module with a rounded input or output: by hand, in training, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from joulemark.nets.formats import apply_formats
from joulemark.nets.header import Format
from joulemark.nets.layers.rounded import ROUNDED, rounded


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x


GIVEN = torch.tensor([[-1.0, 0.4, 0.6, 99.0]])


def test_what_goes_in_is_rounded_to_the_steps_of_its_range():
    layer = rounded(Twice(), Format(kind="rounded", activation_bits=8, low=0.0, high=255.0))
    torch.testing.assert_close(layer(GIVEN), torch.tensor([[0.0, 0.0, 2.0, 198.0]]))


def test_what_comes_out_is_rounded_to_the_steps_of_its_own_range():
    layer = rounded(Twice(), Format(kind="rounded", activation_bits=8, output=(0.0, 127.5)))  # steps of a half
    torch.testing.assert_close(layer(GIVEN), torch.tensor([[0.0, 1.0, 1.0, 127.5]]))


def test_both_may_be_rounded_and_rounding_again_changes_nothing():
    form = Format(kind="rounded", activation_bits=8, low=-1.0, high=1.0, output=(-2.0, 2.0))
    layer, x = rounded(Twice(), form), torch.linspace(-1.5, 1.5, 31)[None]
    y = layer(x)
    assert float((y - 2 * x.clamp(-1, 1)).abs().max()) < 2 / 255 + 4 / 255
    again = rounded(nn.Identity(), Format(kind="rounded", activation_bits=8, output=(-2.0, 2.0)))
    torch.testing.assert_close(again(y), y, rtol=0, atol=1e-7)


def test_gradients_pass_the_rounding_and_stop_where_the_range_ends():
    x = torch.tensor([[-0.5, 0.3, 0.9]], requires_grad=True)
    ROUNDED.trained(Twice(), Format(kind="rounded", activation_bits=8, low=0.0, high=0.5))(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, 2.0, 0.0]]))


def test_the_module_stays_in_its_place_with_its_parameters():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
    names, block = set(net.state_dict()), net[0]
    apply_formats(net, {"0": Format(kind="rounded", activation_bits=8, output=(0.0, 1.0))})
    assert net[0] is block
    assert set(net.state_dict()) == names


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weight_bits": 8}, "neither weights nor options"),
        ({"options": {"a": 1}}, "neither weights nor options"),
        ({"activation_bits": 4}, "rounded to 8 bits, not to 4"),
        ({"activation_bits": None}, "rounded to 8 bits, not to None"),
        ({"high": 0.0}, "has no range"),
        ({"high": float("inf")}, "is none, or beyond"),
        ({"output": (1.0, -1.0)}, "is none, or beyond"),
        ({"output": (float("nan"), 1.0)}, "is none, or beyond"),
    ],
)
def test_a_format_that_does_not_fit_is_refused(change, told):
    form = {"kind": "rounded", "activation_bits": 8, "low": 0.0, "high": 1.0} | change
    with pytest.raises(ValueError, match=told):
        rounded(Twice(), Format(**form))


def test_it_needs_the_kernels_of_eight_bits():
    assert ROUNDED.needs(Format(kind="rounded", activation_bits=8, output=(0.0, 1.0))) == "int8"
