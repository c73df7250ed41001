"""Edits: channels kept by hand, equality with zeroing, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.edits.edit import replay


def keep(layer: str, **indices: list[int] | None) -> dict:
    return {"edit": "keep_channels", "layer": layer, **indices}


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2, bias=False), nn.Flatten(), nn.Linear(18, 5)
    )
    for _ in range(3):  # statistics that are not the initial ones
        made.train()(torch.randn(8, 3, 6, 6))
    return made.eval()


def test_convolution_by_hand(net):
    weight, bias = net[0].weight.detach().clone(), net[0].bias.detach().clone()
    replay(net, (keep("0", outputs=[2, 0], inputs=[1]),))
    assert torch.equal(net[0].weight, weight[[2, 0]][:, [1]])
    assert torch.equal(net[0].bias, bias[[2, 0]])
    assert (net[0].in_channels, net[0].out_channels) == (1, 2)
    assert isinstance(net[0].weight, nn.Parameter)


def test_linear_by_hand(net):
    weight, bias = net[5].weight.detach().clone(), net[5].bias.detach().clone()
    replay(net, (keep("5", outputs=[1, 4], inputs=[0, 17]),))
    assert torch.equal(net[5].weight, weight[[1, 4]][:, [0, 17]])
    assert torch.equal(net[5].bias, bias[[1, 4]])
    assert (net[5].in_features, net[5].out_features) == (2, 2)


def test_batch_norm_by_hand(net):
    before = {name: tensor.clone() for name, tensor in net[1].state_dict().items()}
    replay(net, (keep("1", outputs=[3, 1]),))
    after = net[1].state_dict()
    assert after.keys() == before.keys()
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(after[name], before[name][[3, 1]])
    assert net[1].num_features == 2


@pytest.mark.parametrize("options", [{"affine": False}, {"track_running_stats": False}])
def test_batch_norm_without_parameters_or_statistics(options):
    net = nn.Sequential(nn.BatchNorm2d(4, **options))
    replay(net, (keep("0", outputs=[0, 2]),))
    assert net[0].num_features == 2
    assert net(torch.randn(2, 2, 3, 3)).shape == (2, 2, 3, 3)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 3), min_size=1))
def test_cutting_channels_equals_zeroing_them(kept):
    torch.manual_seed(0)
    full = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2)).eval()
    cut = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2)).eval()
    cut.load_state_dict(full.state_dict())
    order = sorted(kept)
    replay(cut, (keep("0", outputs=order), keep("1", outputs=order), keep("3", inputs=order)))
    with torch.no_grad():
        for channel in set(range(4)) - kept:
            full[1].weight[channel] = full[1].bias[channel] = 0.0
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(cut(x), full(x))


def test_edits_are_replayed_in_order_on_what_the_last_one_left(net):
    weight = net[0].weight.detach().clone()
    replay(net, (keep("0", outputs=[1, 2, 3]), keep("0", outputs=[0, 2])))
    assert torch.equal(net[0].weight, weight[[1, 3]])


def test_no_edit_changes_nothing(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    replay(net, ())
    replay(net, (keep("0"), keep("1")))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (
            {"edit": "melt", "layer": "0"},
            "unknown edit 'melt': did you mean 'delay'.  *Known: absorb_batch_norm, bypass_block",
        ),
        ({"layer": "0"}, "unknown edit 'None'"),
        ({"edit": "keep_channels"}, "does not take"),
        ({"edit": "keep_channels", "layer": "0", "outs": [0]}, "does not take"),
        (keep("9", outputs=[0]), "is called '9'"),
        (keep("2", outputs=[0]), "is called '2'"),
        (keep("0", outputs=[4]), "do not fit '0'"),
        (keep("0", outputs=[-1]), "do not fit '0'"),
        (keep("0", inputs=[3]), "do not fit '0'"),
        (keep("0", outputs=[]), "do not fit '0'"),
        (keep("0", outputs=[1, 1]), "not different whole numbers"),
        (keep("0", outputs=[1.0]), "not different whole numbers"),
        (keep("0", outputs=[True]), "not different whole numbers"),
        ({**keep("0"), "outputs": 3}, "does not take"),
        (keep("1", inputs=[0]), "outputs only"),
    ],
)
def test_edits_that_do_not_fit_are_refused_in_one_sentence(net, edit, why):
    with pytest.raises(ValueError, match=why) as caught:
        replay(net, (edit,))
    assert "\n" not in str(caught.value)


def test_grouped_convolution_is_refused():
    with pytest.raises(ValueError, match="grouped convolution"):
        replay(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), (keep("0", outputs=[0]),))


def test_depthwise_convolution_by_hand():
    made = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    weight, bias = made[0].weight.detach().clone(), made[0].bias.detach().clone()
    x = torch.randn(2, 4, 5, 5)
    before = made(x)
    replay(made, (keep("0", outputs=[3, 1, 2]), keep("0", outputs=[1, 0])))
    assert torch.equal(made[0].weight, weight[[1, 3]])
    assert torch.equal(made[0].bias, bias[[1, 3]])
    assert (made[0].groups, made[0].in_channels, made[0].out_channels) == (2, 2, 2)
    torch.testing.assert_close(made(x[:, [1, 3]]), before[:, [1, 3]])
    with pytest.raises(ValueError, match="depthwise convolution, which has outputs only: its inputs follow them"):
        replay(made, (keep("0", inputs=[0]),))


def absorb(layer: str, norm: str) -> dict:
    return {"edit": "absorb_batch_norm", "layer": layer, "norm": norm}


def test_an_absorbed_batch_norm_does_nothing_and_leaves_room_for_its_shift():
    made = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    replay(made, (absorb("0", "1"),))
    assert isinstance(made[1], nn.Identity)
    assert made[0].bias.tolist() == [0.0, 0.0]
    assert set(made.state_dict()) == {"0.weight", "0.bias"}


@pytest.mark.parametrize(("layer", "norm"), [("0", "2"), ("2", "1"), ("5", "1"), ("9", "1"), ("0", "9")])
def test_only_a_batch_norm_is_absorbed_by_a_convolution(net, layer, norm):
    with pytest.raises(ValueError, match=r"absorb_batch_norm: .* are no convolution and no batch norm"):
        replay(net, (absorb(layer, norm),))
