"""What is kept of a layer is what slices of its weights give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.edits.keep_channels import keep_channels


def test_a_convolution_keeps_the_listed_outputs_and_inputs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    weight, bias, x = net[0].weight.detach().clone(), net[0].bias.detach().clone(), torch.randn(2, 2, 5, 5)
    keep_channels(net, layer="0", outputs=[3, 1], inputs=[0, 2])
    assert (net[0].out_channels, net[0].in_channels) == (2, 2)
    expected = nn.functional.conv2d(x, weight[[3, 1]][:, [0, 2]], bias[[3, 1]])
    torch.testing.assert_close(net(x), expected)


def test_a_batch_norm_keeps_its_statistics():
    net = nn.Sequential(nn.BatchNorm2d(3)).eval()
    net[0].running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    keep_channels(net, layer="0", outputs=[2, 0])
    assert net[0].running_mean.tolist() == [3.0, 1.0]
    assert net[0].num_features == 2
    with pytest.raises(ValueError, match="is a BatchNorm2d, which has outputs only"):
        keep_channels(net, layer="0", inputs=[0])


def test_a_depthwise_convolution_is_cut_in_all_three_numbers():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    keep_channels(net, layer="0", outputs=[0, 3])
    assert (net[0].groups, net[0].in_channels, net[0].out_channels) == (2, 2, 2)
    assert net(torch.zeros(1, 2, 5, 5)).shape == (1, 2, 3, 3)


@pytest.mark.parametrize(
    ("layer", "wanted", "why"),
    [
        (nn.Linear(2, 3), {"outputs": [0, 0]}, "are not different whole numbers"),
        (nn.Linear(2, 3), {"outputs": [3]}, "do not fit '0', with outputs 0 to 2"),
        (nn.Linear(2, 3), {"inputs": []}, "do not fit '0', with inputs 0 to 1"),
        (nn.Conv2d(4, 8, 3, groups=2), {"outputs": [0]}, "is a grouped convolution, which this edit cannot cut"),
        (nn.ReLU(), {"outputs": [0]}, "no convolution, linear layer, norm or PReLU is called '0'"),
        (nn.PReLU(), {"outputs": [0]}, "no convolution, linear layer, norm or PReLU is called '0'"),
        (nn.PReLU(3), {"inputs": [0]}, "is a PReLU, which has outputs only"),
        (nn.GroupNorm(2, 6), {"outputs": [0, 1]}, "the 3 channels of a norm group of '0' are kept or cut together"),
        (nn.GroupNorm(2, 6), {"outputs": [1, 2, 3]}, "are kept or cut together"),
        (nn.GroupNorm(2, 6), {"outputs": [2, 1, 0]}, "are kept or cut together, in their order"),
        (
            nn.Conv2d(2, 4, 3, groups=2),
            {"outputs": [1, 2]},
            "the 2 filters of a channel of '0' are kept or cut together",
        ),
        (nn.Conv2d(2, 4, 3, groups=2), {"inputs": [1]}, "is a depthwise convolution, which has outputs only"),
        (nn.LayerNorm((2, 3)), {"outputs": [0]}, "no convolution, linear layer, norm or PReLU is called '0'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(layer, wanted, why):
    with pytest.raises(ValueError, match=why):
        keep_channels(nn.Sequential(layer), layer="0", **wanted)


X = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "outputs", "inputs"),
    [
        (nn.Conv1d(6, 4, 3), [2, 0], [5, 1, 2]),
        (nn.Conv3d(6, 4, 1), [3], [0, 1]),
        (nn.ConvTranspose2d(6, 4, 3, stride=2), [3, 1], [0, 5]),
        (nn.ConvTranspose1d(6, 4, 3, bias=False), None, [2, 4]),
        (nn.Linear(6, 3), [2], [1, 2, 3]),
    ],
)
def test_a_product_keeps_what_the_whole_one_puts_out_where_its_other_inputs_are_zero(layer, outputs, inputs):
    x = torch.randn(2, 6, *[5] * (layer.weight.dim() - 2), generator=torch.Generator().manual_seed(0))
    only = torch.zeros_like(x)
    only[:, inputs] = x[:, inputs]
    whole = layer(only)
    keep_channels(nn.Sequential(layer), layer="0", outputs=outputs, inputs=inputs)
    torch.testing.assert_close(layer(x[:, inputs]), whole if outputs is None else whole[:, outputs])


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (nn.PReLU(6), [4, 1]),
        (nn.InstanceNorm2d(6, affine=True), [4, 1]),
        (nn.InstanceNorm2d(6), [4]),
        (nn.BatchNorm2d(6, affine=False), [4, 1]),
        (nn.BatchNorm2d(6, track_running_stats=False), [0]),
        (nn.GroupNorm(3, 6), [2, 3]),
        (nn.GroupNorm(3, 6, affine=False), [4, 5, 0, 1]),
        (nn.GroupNorm(6, 6), [5, 0]),
        (nn.ConvTranspose2d(6, 6, 3, groups=6), [3, 0]),
    ],
)
def test_what_passes_channels_on_does_to_those_kept_what_it_did_before(layer, kept):
    with torch.no_grad():
        for tensor in (*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point())):
            tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)) + 0.5)
    layer.eval()
    whole = layer(X)
    keep_channels(nn.Sequential(layer), layer="0", outputs=kept)
    torch.testing.assert_close(layer(X[:, kept]), whole[:, kept])


def test_all_filters_of_a_channel_stay_together():
    layer = nn.Conv2d(3, 6, 3, groups=3)
    whole = layer(X[:, :3])
    keep_channels(nn.Sequential(layer), layer="0", outputs=[4, 5, 0, 1])
    assert (layer.groups, layer.in_channels, layer.out_channels) == (2, 2, 4)
    torch.testing.assert_close(layer(X[:, [2, 0]]), whole[:, [4, 5, 0, 1]])


def test_a_norm_over_features_gets_a_shorter_shape():
    layer = nn.LayerNorm(6)
    keep_channels(nn.Sequential(layer), layer="0", outputs=[1, 2])
    assert layer.normalized_shape == (2,)
    torch.testing.assert_close(layer(X[:, [1, 2], 0, 0]), nn.LayerNorm(2)(X[:, [1, 2], 0, 0]))
