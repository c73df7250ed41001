"""Sampled inputs times the weights against what PyTorch's layer puts out, errors against the net really run."""

import pytest
import torch
from torch import nn

from joulemark.nets.net import Net
from joulemark.techniques.pruning.layerwise import PLACES, Layer, prunable, sampled, watch
from joulemark.techniques.pruning.reconstruction import Sums, error

CONVOLUTIONS = {
    "plain": {},
    "stride and padding": {"stride": (2, 1), "padding": (1, 2), "kernel_size": (3, 5)},
    "dilation": {"dilation": 2, "padding": 2},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "out_channels": 8},
    "padded to the same size": {"padding": "same", "kernel_size": (3, 5)},
    "mirrored edges": {"padding": 1, "padding_mode": "reflect"},
    "one tap, no bias": {"kernel_size": 1, "bias": False},
}


def layered(layer, norm=None):
    return Layer(layer, norm, torch.ones_like(layer.weight, dtype=torch.bool))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_sampled_inputs_times_the_weights_are_the_sampled_outputs(name):
    torch.manual_seed(0)
    options = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **CONVOLUTIONS[name]}
    convolution = nn.Conv2d(**options)
    x = torch.randn(3, 4, 9, 8)
    y = convolution(x).detach()
    inputs, outputs = sampled(convolution, x, y, torch.Generator().manual_seed(1))
    layer = layered(convolution)
    bias = 0.0 if convolution.bias is None else layer.grouped(convolution.bias.detach())[:, None]
    made = inputs.double() @ layer.weights.mT + bias
    assert outputs.shape == (convolution.groups, 3 * PLACES, options["out_channels"] // convolution.groups)
    torch.testing.assert_close(made.float(), outputs)
    again, _ = sampled(convolution, x + 1.0, y, torch.Generator().manual_seed(1))  # other inputs, the same places
    inside = again - inputs
    assert set(inside.round(decimals=3).flatten().tolist()) <= {0.0, 1.0}  # 0: padding


@pytest.mark.parametrize("options", [{"stride": 2, "padding": 2}, {"dilation": 3, "groups": 2}, {"padding": "same"}])
def test_places_of_a_signal_are_sampled_too(options):
    convolution, x = nn.Conv1d(4, 6, 5, **options), torch.randn(3, 4, 40)
    y = convolution(x).detach()
    inputs, outputs = sampled(convolution, x, y, torch.Generator().manual_seed(1))
    layer = layered(convolution)
    made = inputs.double() @ layer.weights.mT + layer.grouped(convolution.bias.detach())[:, None]
    assert outputs.shape == (convolution.groups, 3 * PLACES, 6 // convolution.groups)
    torch.testing.assert_close(made.float(), outputs)
    assert len(set(outputs[0, :, 0].tolist())) > PLACES  # of several places


def test_of_a_linear_layer_every_row_is_taken():
    linear = nn.Linear(5, 3)
    x = torch.randn(2, 7, 5)
    inputs, outputs = sampled(linear, x, linear(x).detach(), torch.Generator())
    assert torch.equal(inputs, x.reshape(1, 14, 5))
    assert torch.equal(outputs, linear(x).detach().reshape(1, 14, 3))


def normed(seed=0, *, affine=True):
    torch.manual_seed(seed)
    convolution, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=affine)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.2, 3.0)
    if affine:
        norm.weight.data = torch.tensor([1.5, -0.5, 0.1, 2.0])
        norm.bias.data.normal_()
    return convolution, norm.eval()


def every_place(convolution, x, y):
    columns = nn.functional.unfold(x, convolution.kernel_size).mT.flatten(0, 1)
    return columns[None], y.permute(0, 2, 3, 1).flatten(0, 2)[None]


@pytest.mark.parametrize("affine", [True, False])
def test_error_and_mean_are_those_behind_the_batch_norm(affine):
    convolution, norm = normed(affine=affine)
    x = torch.randn(5, 3, 8, 8) + 0.7
    with torch.no_grad():
        before = norm(convolution(x))
        sums = Sums()
        sums.add(*every_place(convolution, x, convolution(x)))
        layer = layered(convolution, norm)
        moments = layer.moments(sums)
        kept = layer.rebuild(sums, 40)
        after = norm(convolution(x))
    assert int(kept.sum()) == 40
    assert torch.equal(convolution.weight != 0, kept)
    torch.testing.assert_close(after.mean((0, 2, 3)), before.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    wrong = (after - before).double().var((0, 2, 3), correction=0)
    torch.testing.assert_close(error(moments, layer.weights)[0], wrong, rtol=1e-3, atol=1e-6)


def test_the_bias_keeps_the_mean_where_there_is_no_batch_norm():
    torch.manual_seed(0)
    linear, x = nn.Linear(20, 6), torch.rand(50, 20)
    with torch.no_grad():
        before, sums = linear(x), Sums()
        sums.add(x[None], before[None])
        layered(linear).rebuild(sums, 30)
        torch.testing.assert_close(linear(x).mean(0), before.mean(0), rtol=1e-4, atol=1e-5)
        assert int((linear.weight != 0).sum()) == 30


def test_without_either_the_mean_counts_as_error():
    linear = nn.Linear(4, 2, bias=False)
    x = torch.rand(30, 4)
    sums = Sums()
    sums.add(x[None], linear(x).detach()[None])
    layer = layered(linear)
    assert not layer.centred
    zero = error(layer.moments(sums), torch.zeros(1, 2, 4, dtype=torch.float64))
    torch.testing.assert_close(zero[0].float(), linear(x).detach().square().mean(0))


def test_the_curve_is_the_error_of_the_layer_when_it_is_run_with_the_largest():
    convolution, norm = normed()
    x = torch.randn(4, 3, 8, 8) + 0.3
    with torch.no_grad():
        sums = Sums()
        sums.add(*every_place(convolution, x, convolution(x)))
        layer = layered(convolution, norm)
        curve = layer.curve(sums)
        assert [count for count, _ in curve] == sorted({count for count, _ in curve}, reverse=True)
        assert (curve[0][0], curve[-1][0]) == (108, 4)  # all of them; one a filter
        before, weight = norm(convolution(x)).double(), convolution.weight.clone()
        scaled = (weight * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None, None]).abs()
        for count, relative in curve:
            convolution.weight.copy_(torch.where(scaled >= scaled.flatten().sort().values[-count], weight, 0.0))
            wrong = (norm(convolution(x)).double() - before).var((0, 2, 3), correction=0).sum()
            assert relative == pytest.approx(float(wrong / before.var((0, 2, 3), correction=0).sum()), abs=1e-5)


def test_layers_masks_and_batch_norms_are_found():
    net = Net.new("resnet", (3, 32, 32), seed=0, depth=8)
    mask = torch.rand(16, 3, 3, 3) < 0.5
    module = net.replace(masks={"conv1.weight": mask}).module()
    layers = prunable(module, net.replace(masks={"conv1.weight": mask}))
    assert layers["conv1"].norm is module.bn1
    assert layers["layer3.0.conv2"].norm is module.layer3[0].bn2
    assert layers["linear"].norm is None
    assert torch.equal(layers["conv1"].alive, mask)
    assert layers["linear"].alive.all()
    assert len(layers) == 8


def test_watching_one_layer_ends_the_pass_behind_it_and_leaves_no_hook():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    ran, seen = [], []
    net[1].register_forward_pre_hook(lambda *_: ran.append(1))
    layers = {"0": layered(net[0]), "1": layered(net[1])}
    batches = [torch.randn(2, 4), torch.randn(3, 4)]
    watch(
        net, {"0": layers["0"]}, batches, 0, lambda path, batch, x, y: seen.append((path, batch, len(x[0]), len(y[0])))
    )
    assert (seen, ran) == ([("0", 0, 2, 2), ("0", 1, 3, 3)], [])
    watch(net, layers, batches, 0, lambda path, batch, *_: seen.append((path, batch)))
    assert seen[2:] == [("0", 0), ("1", 0), ("0", 1), ("1", 1)]
    assert not net[0]._forward_hooks and not net[1]._forward_hooks


@pytest.mark.parametrize("bias", [False, True])
def test_the_mean_stays_right_however_often_weights_are_put(bias):
    """Running means that were measured: behind them, the outputs of halved and halved again weights keep their mean."""
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4).eval()
    if bias:
        convolution.bias.data.fill_(3.0)
    x = torch.randn(6, 3, 8, 8) + 0.7
    y = convolution(x).detach()
    norm.running_mean.copy_(y.mean((0, 2, 3)))
    layer, sums = layered(convolution, norm), Sums()
    sums.add(*every_place(convolution, x, y))
    layer.put(layer.weights, sums)
    assert torch.allclose(norm.running_mean, y.mean((0, 2, 3)), atol=1e-4)  # nothing was changed
    for _ in range(2):
        layer.put(layer.weights * 0.5, sums)
        assert torch.allclose(norm(convolution(x)).detach().mean((0, 2, 3)), torch.zeros(4), atol=1e-4)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [False, True])
def test_in_front_of_a_batch_norm_filters_stay_as_long_as_they_were(bias, affine):
    """The same function as with the weights written as they are, whatever is put, and lengths of what is kept."""
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine).eval()
    norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(6, 3, 8, 8)
    y = convolution(x).detach()
    layer, sums = layered(convolution, norm), Sums()
    sums.add(*every_place(convolution, x, y))
    before, scale = convolution.weight.detach().clone(), layer.scale.clone()
    for factor in (3.0, 0.2):
        kept = (torch.rand_like(before) < 0.7) & (before != 0)
        before = convolution.weight.detach().clone()
        wanted = layer.weights * kept.flatten(1) * factor
        layer.put(wanted, sums)
        assert torch.allclose(layer.weights, wanted, rtol=1e-4)
        lengths = convolution.weight.detach().flatten(1).norm(dim=1)
        assert torch.allclose(lengths, (before * kept).flatten(1).norm(dim=1), rtol=1e-4)
        plain = nn.functional.conv2d(x, (wanted[0] / scale[0][:, None]).float().view_as(before))
        sign = 1.0 if norm.weight is None else norm.weight.detach()[:, None, None]
        deviation = (layer.variance + norm.eps).sqrt()[:, None, None]
        expected = sign * (plain - plain.mean((0, 2, 3), keepdim=True)) / deviation
        made = norm(convolution(x)).detach()
        assert torch.allclose(made - made.mean((0, 2, 3), keepdim=True), expected, atol=1e-4)
