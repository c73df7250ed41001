"""Second derivatives against torch's own, saliencies and masks against the paper's recipe."""

import dataclasses
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian as hessian_of
from torch.autograd.functional import jacobian

from joulemark import testing
from joulemark.nets.builders.lenet1989 import Squash, TwoModules
from joulemark.nets.builders.resnet import Block
from joulemark.nets.dependencies import channel_groups
from joulemark.nets.folding import fold
from joulemark.nets.net import Net
from joulemark.techniques.pruning import optimal_brain_damage as obd
from joulemark.techniques.technique import TechniqueError


def double(*layers, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*layers).double().eval()


def recursion(layers, x):
    """diag(J^T diag(h) J) layer by layer for one row, with J from torch: the independent reference.

    Returns the second derivatives of that row's weights and biases by "index.name".
    """
    values = [x]
    for layer in layers:
        values.append(layer(values[-1]))
    p = values[-1].softmax(1)
    h, found = (p * (1 - p)).flatten(), {}
    for index in reversed(range(len(layers))):
        layer, inside = layers[index], values[index]
        own = dict(layer.named_parameters())
        for name in own if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) else ():

            def of_parameter(w, layer=layer, inside=inside, own=own, name=name):
                return torch.func.functional_call(layer, {**own, name: w}, (inside,)).flatten()

            j = torch.autograd.functional.jacobian(of_parameter, own[name].detach()).reshape(len(h), -1)
            found[f"{index}.{name}"] = (h @ j**2).view_as(own[name])
        j = torch.autograd.functional.jacobian(lambda v, layer=layer: layer(v).flatten(), inside.detach())
        h = h @ j.reshape(len(h), -1) ** 2
    return found


def assert_follows_the_recursion(net, images):
    rows = [recursion(list(net), image[None]) for image in images]
    got = obd.second_derivatives(net, [(images, torch.zeros(len(images), dtype=torch.int64))])
    assert set(got) == set(rows[0])
    for name, h in got.items():
        torch.testing.assert_close(h, torch.stack([row[name] for row in rows]).mean(0), rtol=1e-9, atol=1e-14)
        assert float(h.max()) > 0


def test_one_linear_layer_has_the_exact_diagonal_of_the_hessian():
    torch.manual_seed(0)
    net = double(nn.Linear(5, 4))
    x, y = torch.randn(7, 5).double(), torch.randint(4, (7,))

    def loss(weight, bias):
        return nn.functional.cross_entropy(nn.functional.linear(x, weight, bias), y)

    (ww, _), (_, bb) = torch.autograd.functional.hessian(loss, (net[0].weight.detach(), net[0].bias.detach()))
    got = obd.second_derivatives(net, [(x[:3], y[:3]), (x[3:], y[3:])])
    torch.testing.assert_close(got["0.weight"].flatten(), ww.reshape(20, 20).diagonal())
    torch.testing.assert_close(got["0.bias"], bb.diagonal())


def test_under_squared_error_the_curvature_of_a_linear_layer_is_that_of_least_squares():
    net = double(nn.Linear(5, 4))
    x, d = torch.randn(7, 5).double(), torch.randn(7, 4).double()

    def loss(weight):
        return (nn.functional.linear(x, weight, net[0].bias.detach()) - d).square().sum(1).mean()

    hessian = torch.autograd.functional.hessian(loss, net[0].weight.detach()).reshape(20, 20)
    got = obd.second_derivatives(net, [(x, d)], lambda y: torch.full_like(y, 2.0))["0.weight"]
    torch.testing.assert_close(got.flatten(), hessian.diagonal())


NETS = {
    "conv, relu, max pool": (
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4), nn.ReLU(), nn.Linear(4, 3),
    ),
    "overlapping max pool": (nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, stride=1), nn.Flatten(), nn.Linear(32, 3)),
    "stride, padding, groups, no bias": (
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(2, 4, 3, padding=2, groups=2, bias=False),
        nn.Flatten(), nn.Linear(144, 3),
    ),
    "dilation": (nn.Conv2d(1, 2, 3, dilation=2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)),
    "tanh and sigmoid": (nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)),
    "squash": (nn.Flatten(), nn.Linear(64, 6), Squash(), nn.Linear(6, 3)),
    "batch norm": (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)),
    "average pool": (nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)),
    "average pool, overlapping and padded": (
        nn.Conv2d(1, 2, 3), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Flatten(), nn.Linear(18, 3),
    ),
    "adaptive average pool": (nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)),
    "adaptive pool with unequal windows": (nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, 3)),
    "signal, batch norm, max pool": (
        nn.Flatten(2), nn.Conv1d(1, 2, 5, stride=4, dilation=2), nn.BatchNorm1d(2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(20, 3),
    ),
    "signal, average pool, overlapping and padded": (
        nn.Flatten(2), nn.Conv1d(1, 2, 5, stride=4), nn.AvgPool1d(3, 2, 1, True, False), nn.Flatten(), nn.Linear(16, 3),
    ),
    "signal, adaptive pool with unequal windows": (
        nn.Flatten(2), nn.Conv1d(1, 2, 5, stride=4), nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(8, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_layers_follow_the_recursion_of_the_paper(name):
    net = double(*NETS[name])
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            layer.reset_parameters()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3.0)
            layer.weight.data.normal_()
    assert_follows_the_recursion(net, torch.randn(3, 1, 8, 8).double())


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2), (2, "same")])
def test_weight_rule_of_a_convolution_sums_squared_inputs(stride, padding):
    """With h = 1 at every output, d2E/dw = the sum of x^2 over the places where the tap was used."""
    stride = 1 if padding == "same" else stride
    conv = double(nn.Conv2d(2, 3, 3, stride=stride, padding=padding))
    x = torch.randn(4, 2, 9, 9).double()
    with obd.squared_backward(conv) as weights:
        y = conv(x)
        got, bias = torch.autograd.grad(y, [weights["0.weight"], weights["0.bias"]], torch.ones_like(y))
    around = 1 if padding == "same" else padding
    patches = nn.functional.unfold(x, 3, stride=stride, padding=around)  # rows, taps, places
    torch.testing.assert_close(got, (patches**2).sum((0, 2)).view(2, 3, 3).expand(3, 2, 3, 3))
    torch.testing.assert_close(bias, torch.full((3,), float(y[:, 0].numel())).double())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.outer(x + self.inner(x))


def test_residual_add_hands_the_same_curvature_to_both_ways():
    torch.manual_seed(0)
    first, block = nn.Linear(4, 4).double(), Residual().double()
    net = nn.Sequential(OrderedDict(first=first, block=block)).eval()
    x = torch.randn(1, 4).double()
    p = net(x).softmax(1)
    at_sum = (p * (1 - p)) @ block.outer.weight**2
    at_first = at_sum + at_sum @ block.inner.weight**2
    got = obd.second_derivatives(net, [(x, torch.zeros(1, dtype=torch.int64))])
    torch.testing.assert_close(got["block.inner.weight"], at_sum.T * first(x) ** 2)
    torch.testing.assert_close(got["first.weight"], at_first.T * x**2)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x) * 2.0


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3)), "GELU"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten()), "Conv2d"),
        (nn.Sequential(Scaled()), "Mul"),
    ],
)
def test_what_has_no_rule_is_refused_and_the_module_left_as_it_was(net, named):
    x = torch.randn(2, 1, 4, 4) if named == "Conv2d" else torch.randn(2, 4)
    before = net(x)
    with pytest.raises(TechniqueError, match=f"no second derivative.*{named}"):
        obd.second_derivatives(net, [(x, torch.zeros(2, dtype=torch.int64))])
    assert all("forward" not in vars(m) for m in net.modules())
    assert torch.equal(net(x), before)


def test_module_is_restored_after_the_block_even_if_it_raises():
    net = double(nn.Linear(4, 3), nn.Tanh())
    x = torch.randn(2, 4).double()
    plain = torch.autograd.grad(net(x).sum(), net[0].weight)[0]
    with pytest.raises(KeyError), obd.squared_backward(net):
        assert "forward" in vars(net[0])
        raise KeyError
    assert not any("forward" in vars(m) for m in net.modules())
    assert torch.equal(torch.autograd.grad(net(x).sum(), net[0].weight)[0], plain)


def small_lenet(seed=0):
    net = Net.new("lenet", (1, 28, 28), seed=seed, width=0.1)
    random = torch.Generator().manual_seed(seed)
    sample = [(torch.randn(20, 1, 28, 28, generator=random), torch.arange(20) % 10)]
    return net, sample


def test_prune_deletes_the_least_salient_and_predicts_the_sum_of_their_saliencies():
    net, sample = small_lenet()
    pruned, predicted = obd.prune(net, sample, 0.4)
    h = obd.second_derivatives(net.module(), sample)
    assert set(pruned.masks) == {name for name in h if name.endswith("weight")}
    saliency = torch.cat([(0.5 * h[name] * net.state[name] ** 2).flatten() for name in pruned.masks])
    kept = torch.cat([mask.flatten() for mask in pruned.masks.values()])
    assert int(kept.sum()) == round(0.4 * len(kept))
    assert float(saliency[~kept].max()) <= float(saliency[kept].min())
    assert predicted == pytest.approx(float(saliency[~kept].double().sum()), rel=1e-6)
    module = pruned.module()
    assert all(not module.get_parameter(name)[~mask].any() for name, mask in pruned.masks.items())


def test_weight_decay_adds_what_the_gradient_is_at_its_minimum():
    """At the minimum of E + decay u^2 / 2 the gradient is -decay u; in front of a batch norm it is not."""
    net, sample = small_lenet()
    plain, found = (obd.decayed(net, sample, decay) for decay in (0.0, 0.3))
    for name, saliency in plain.items():
        assert torch.allclose(found[name], saliency + 0.3 * net.state[name] ** 2)
    normed = Net.new("alexnet", (3, 32, 32), seed=0, width=0.1)
    with pytest.raises(TechniqueError, match="gradient=decay, and this net has batch norm"):
        obd.decayed(normed, [(torch.rand(2, 3, 32, 32), torch.arange(2))], 0.3)


def test_with_weight_decay_the_linear_term_is_what_deletion_costs_at_first():
    """One linear layer trained to its minimum with decay by Newton: a deletion costs both terms."""
    torch.manual_seed(0)
    x, target, decay = torch.randn(400, 6).double(), torch.randn(400, 3).double().softmax(1), 0.05

    def error(flat, weight_decay=0.0):
        weight = flat.reshape(3, 6)
        return nn.functional.cross_entropy(x @ weight.T, target) + 0.5 * weight_decay * (flat**2).sum()

    u = torch.zeros(18).double()
    for _ in range(20):
        gradient, hessian = (way(lambda flat: error(flat, decay), u) for way in (jacobian, hessian_of))
        u = u - torch.linalg.solve(hessian, gradient)
    net = double(nn.Linear(6, 3, bias=False))
    net[0].weight.data.copy_(u.reshape(3, 6))
    half_h = 0.5 * obd.second_derivatives(net, [(x, target)])["0.weight"].flatten()
    for k in range(18):
        without = u.clone()
        without[k] = 0.0
        assert float(error(without) - error(u)) == pytest.approx(float((half_h[k] + decay) * u[k] ** 2), rel=0.05)


def test_prune_never_revives_a_weight_and_keeps_masks_of_others():
    net, sample = small_lenet()
    first, _ = obd.prune(net, sample, 0.3)
    bias = {"classifier.hidden.bias": torch.zeros(50, dtype=torch.bool)}
    second, predicted = obd.prune(first.replace(masks={**first.masks, **bias}), sample, 0.2)
    again, nothing = obd.prune(first, sample, 0.9)  # more than are alive: none is deleted, none revived
    for name, mask in first.masks.items():
        assert not (second.masks[name] & ~mask).any()
        assert torch.equal(again.masks[name], mask)
    assert torch.equal(second.masks["classifier.hidden.bias"], bias["classifier.hidden.bias"])
    total = sum(mask.numel() for mask in first.masks.values())
    assert sum(int(second.masks[name].sum()) for name in first.masks) == round(0.2 * total)
    assert nothing == 0.0 < predicted


def test_prediction_meets_the_increase_near_a_minimum():
    """Soft targets put one linear layer exactly at its minimum: small deletions cost what the paper predicts."""
    torch.manual_seed(0)
    net = double(nn.Linear(30, 5, bias=False))
    net[0].weight.data.mul_(0.3)
    x = torch.randn(2000, 30).double()
    target = net(x).softmax(1).detach()
    saliency = 0.5 * obd.second_derivatives(net, [(x, target)])["0.weight"] * net[0].weight.detach() ** 2

    def loss(weight):
        return float(nn.functional.cross_entropy(x @ weight.T, target))

    order = saliency.flatten().argsort()
    for share in (0.1, 0.3, 0.5):
        weight = net[0].weight.detach().clone()
        gone = order[: round(share * len(order))]
        weight.view(-1)[gone] = 0.0
        predicted, actual = float(saliency.flatten()[gone].sum()), loss(weight) - loss(net[0].weight.detach())
        assert actual == pytest.approx(predicted, rel=0.35)


def test_saliency_beats_magnitude_where_inputs_differ_in_scale():
    """E = sum of h_k (u_k - u0_k)^2 / 2 with curvature set by the scale of each input."""
    random = torch.Generator().manual_seed(0)
    scale = torch.logspace(-2, 1, 40).double()[torch.randperm(40, generator=random)]
    x = torch.randn(4000, 40, generator=random).double() * scale
    net = double(nn.Linear(40, 2, bias=False))
    net[0].weight.data = torch.randn(2, 40, generator=random).double() * 0.1
    target = net(x).softmax(1).detach()
    weight = net[0].weight.detach()
    saliency = obd.second_derivatives(net, [(x, target)])["0.weight"] * weight**2

    def increase(score):
        cut = weight.clone().view(-1)
        cut[score.flatten().argsort()[:40]] = 0.0
        return float(
            nn.functional.cross_entropy(x @ cut.view(2, 40).T, target)
            - nn.functional.cross_entropy(x @ weight.T, target)
        )

    assert increase(saliency) < 0.2 * increase(weight.abs())


@dataclasses.dataclass
class FakeBench:
    """Records what the technique asks for; a fit changes nothing."""

    sample: list
    epochs: int = 2
    task: object = testing.TASK
    asked: list = dataclasses.field(default_factory=list)
    notes: dict = dataclasses.field(default_factory=dict)

    def batches(self, split, *, batch_size=64):
        yield from self.sample

    def fit(self, net, *, epochs):
        self.asked.append((epochs, sum(int(mask.sum()) for mask in net.masks.values())))
        return net

    def note(self, name, value):
        self.notes[name] = value


@pytest.mark.parametrize(("epochs", "asked"), [(6, [2, 2, 2]), (4, [1, 1, 2]), (2, [1, 1]), (1, [1])])
def test_rounds_keep_a_geometric_share_and_the_last_deletion_is_always_retrained(epochs, asked):
    net, sample = small_lenet()
    bench = FakeBench(sample, epochs)
    pruned = obd.optimal_brain_damage(net, bench, sparsity=0.9, rounds=3)
    total = sum(mask.numel() for mask in pruned.masks.values())
    shares = [round_["weights_kept"] for round_ in bench.notes["rounds"]]
    assert shares == [round(0.1 ** ((r + 1) / 3) * total) for r in range(3)]
    assert [epochs for epochs, _ in bench.asked] == asked
    assert bench.asked[-1][1] == shares[-1]


def test_the_loss_and_its_sample_are_counted_over_images_not_batches():
    net, _ = small_lenet()
    images, labels = torch.randn(30, 1, 28, 28), torch.arange(30) % 10
    whole = float(nn.functional.cross_entropy(net.module()(images), labels).detach())
    parts = [(images[:25], labels[:25]), (images[25:], labels[25:])]
    assert obd.loss_of(net, parts) == pytest.approx(whole, rel=1e-5)
    cut = list(obd._first(parts, 27))
    assert [len(batch) for batch, _ in cut] == [25, 2]
    a = obd.second_derivatives(net.module(), parts)
    b = obd.second_derivatives(net.module(), [(images, labels)])
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def backward(layers, x, h):
    """One row's curvature ``h`` at the output of a chain taken back to its input ``x``, and that of its weights."""
    values = [x]
    for layer in layers:
        values.append(layer(values[-1]))
    found = []
    for layer, inside in zip(reversed(layers), reversed(values[:-1]), strict=True):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()

            def of_weight(w, layer=layer, inside=inside):
                return torch.func.functional_call(layer, {"weight": w}, (inside,)).flatten()

            j = torch.autograd.functional.jacobian(of_weight, weight).reshape(h.numel(), -1)
            found.append((h @ j**2).view_as(weight))
        j = torch.autograd.functional.jacobian(lambda v, layer=layer: layer(v).flatten(), inside.detach())
        h = h @ j.reshape(h.numel(), -1) ** 2
    return h, found[::-1]


def test_a_residual_block_with_batch_norm_and_padded_shortcut_follows_the_recursion():
    """Both ways into the sum carry its curvature; the shortcut is a slice and zero channels, so it has slope 1 or 0."""
    torch.manual_seed(0)
    block = Block(2, 5, 2).double()
    for norm in (block.bn1, block.bn2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 2.0)
        norm.weight.data.normal_()
    first = nn.Conv2d(1, 2, 3, padding=1).double()
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3).double()]
    net = nn.Sequential(first, block, *end).eval()
    images = torch.randn(3, 1, 6, 6).double()
    branch = [block.conv1, block.bn1, block.relu1, block.conv2, block.bn2]
    rows = []
    for image in images:
        x = first(image[None])
        shortcut = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))
        total = nn.Sequential(*branch)(x) + shortcut
        p = nn.Sequential(block.relu2, *end)(total).softmax(1)
        h, (last,) = backward([block.relu2, *end], total, (p * (1 - p)).flatten())
        through, inner = backward(branch, x, h)
        beside = torch.zeros_like(x)
        beside[:, :, ::2, ::2] = h.view_as(total)[:, 1:3]
        _, (start,) = backward([first], image[None], through + beside.flatten())
        rows.append([start, *inner, last])
    got = obd.second_derivatives(net, [(images, torch.zeros(3, dtype=torch.int64))])
    expected = [torch.stack(column).mean(0) for column in zip(*rows, strict=True)]
    for name, h in zip(("0.weight", "1.conv1.weight", "1.conv2.weight", "4.weight"), expected, strict=True):
        torch.testing.assert_close(got[name], h, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("builder", ["resnet20", "convnet", "alexnet", "vgg"])
def test_nets_of_ours_are_pruned(builder):
    net = Net.new(builder, (3, 32, 32), seed=0, width=0.25)
    sample = [(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(4))]
    pruned, predicted = obd.prune(net, sample, 0.3)
    total = sum(mask.numel() for mask in pruned.masks.values())
    assert set(pruned.masks) == {  # convolutions and linear layers, no batch norm
        f"{path}.weight" for path, m in net.module().named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    }
    assert sum(int(mask.sum()) for mask in pruned.masks.values()) == round(0.3 * total)
    assert predicted >= 0.0


def test_folding_batch_norm_changes_no_saliency():
    """s = h w^2 / 2 is the same whether a scale is in the batch norm or in the weight, so no fold is needed."""
    net = Net.new("convnet", (3, 32, 32), seed=0, width=0.1)
    module = net.module()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.uniform_(0.3, 2.0)
            norm.weight.data.uniform_(0.5, 1.5)
    net = net.with_state(module)
    sample = [(torch.randn(4, 3, 32, 32), torch.arange(4))]
    saliencies = []
    for one in (net, fold(net)):
        h, weights = obd.second_derivatives(one.module(), sample), dict(one.module().named_parameters())
        saliencies.append({n: v * weights[n].detach() ** 2 for n, v in h.items() if n.endswith("weight")})
    for name in saliencies[0]:
        torch.testing.assert_close(saliencies[0][name], saliencies[1][name], rtol=1e-3, atol=1e-9)


def test_two_modules_have_the_curvature_of_the_dense_convolution_with_zeros():
    torch.manual_seed(0)
    sparse, dense = TwoModules(4, 6).double(), nn.Conv2d(4, 10, 5).double()
    with torch.no_grad():
        dense.weight.zero_()
        dense.bias.copy_(torch.cat([sparse.single.bias, sparse.both.bias]))
        for map_ in range(4):
            dense.weight[map_, map_] = sparse.single.weight[map_, 0]
        for map_ in range(6):
            half = slice(0, 2) if map_ < 3 else slice(2, 4)
            dense.weight[4 + map_, half] = sparse.both.weight[map_]
    end = [nn.Flatten(), nn.Linear(40, 3).double()]
    sample = [(torch.randn(3, 4, 6, 6).double(), torch.zeros(3, dtype=torch.int64))]
    got = obd.second_derivatives(nn.Sequential(sparse, *end), sample)
    want = obd.second_derivatives(nn.Sequential(dense, *end), sample)["0.weight"]
    torch.testing.assert_close(got["0.single.weight"][:, 0], want[range(4), range(4)])
    torch.testing.assert_close(got["0.both.weight"], torch.cat([want[4:7, :2], want[7:, 2:]]))


def test_lenet_of_1989_is_pruned_by_all_its_parameters():
    net = Net.new("lenet1989", (1, 28, 28), seed=0)
    _, sample = small_lenet()
    found = obd.saliencies(net.module(), sample)
    assert {name: s.shape for name, s in found.items()} == {name: t.shape for name, t in net.state.items()}
    assert sum(s.numel() for s in found.values()) == 2578


def test_channels_is_a_technique():
    testing.check_technique(obd.optimal_brain_damage, knobs={"structure": "channels", "sparsity": 0.5, "rounds": 2})


def test_the_saliency_of_a_channel_is_the_sum_of_all_that_goes_with_it():
    net, sample = small_lenet()
    module = net.module()
    s = obd.saliencies(module, sample)
    hidden = module.classifier.hidden.weight.shape[1] // 5  # places of each of the 5 channels of stage2
    first = s["stage1.conv.weight"].sum((1, 2, 3)) + s["stage1.conv.bias"] + s["stage2.conv.weight"].sum((0, 2, 3))
    second = s["stage2.conv.weight"].sum((1, 2, 3)) + s["stage2.conv.bias"]
    second += s["classifier.hidden.weight"].view(-1, 5, hidden).sum((0, 2))
    third = s["classifier.hidden.weight"].sum(1) + s["classifier.hidden.bias"] + s["classifier.output.weight"].sum(0)
    sums = torch.cat([first, second, third])
    small, predicted = obd.prune_channels(net, sample, 20)
    kept = sums >= sums.sort(descending=True).values[19]
    sizes = [len(first), len(second), len(third)]
    alive = [int(part.sum()) for part in kept.split(sizes)]
    if min(alive):  # no group needs a channel for being its last
        assert [group.channels for group in channel_groups(small)] == alive
        assert predicted == pytest.approx(float(sums[~kept].sum()), rel=1e-5)
    gone = [part.nonzero()[:, 0].tolist() for part in (~kept).split(sizes)]
    left = [c for c in range(sizes[0]) if c not in gone[0]] or [int(first.argmax())]
    assert torch.equal(small.state["stage1.conv.weight"], net.state["stage1.conv.weight"][left])


def test_channels_that_nothing_reads_go_first_and_cost_nothing():
    net, sample = small_lenet()
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    state["classifier.output.weight"][:, ::2] = 0.0
    dead = net.replace(state=state)
    total = sum(group.channels for group in channel_groups(dead))
    small, predicted = obd.prune_channels(dead, sample, total - 25)
    assert predicted == 0.0
    images = sample[0][0]
    torch.testing.assert_close(small.module()(images), dead.module()(images), rtol=1e-4, atol=1e-5)
    assert small.state["classifier.hidden.weight"].shape[0] == 25
    assert small.masks == {}


def test_rounds_of_channels_keep_a_geometric_share_of_what_there_was():
    net, sample = small_lenet()
    total = sum(group.channels for group in channel_groups(net))
    bench = FakeBench(sample, 4)
    small = obd.optimal_brain_damage(net, bench, sparsity=0.75, rounds=2, structure="channels")
    assert sum(group.channels for group in channel_groups(small)) == round(0.25 * total)
    assert bench.notes["rounds"][-1]["weights_kept"] == sum(
        t.numel() for name, t in small.state.items() if name.endswith("weight")
    )
    assert all(r["predicted_increase"] > 0 for r in bench.notes["rounds"])
    assert small.parameters() < net.parameters() / 3


def test_a_net_without_channels_to_cut_is_refused():
    net = Net.new("lenet1989", (1, 28, 28), seed=0)
    if channel_groups(net):
        pytest.fail("its channels are all tied by grouped convolutions")
    with pytest.raises(TechniqueError, match="structure=channels, and this net has no channels"):
        obd.prune_channels(net, [], 3)
