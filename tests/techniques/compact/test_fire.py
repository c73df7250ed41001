"""Fire modules against the counts of the equations, and the strategies against shapes by hand."""

from __future__ import annotations

import pytest
import torch

from joulemark import testing
from joulemark.nets.layers.fire import Fire, FireSizes
from joulemark.nets.net import Net
from joulemark.techniques.compact.fire import fire, fires, fresh, late
from joulemark.techniques.technique import TechniqueError

CIFAR = (3, 32, 32)


def test_it_is_a_technique():
    testing.check_technique(fire, knobs={"squeeze_ratio": 0.25})


def test_the_weights_are_those_of_the_equation():
    net = Net.new("alexnet", CIFAR, seed=0)
    shapes = {name: tensor.shape for name, tensor in net.state.items() if tensor.dim() == 4}
    rewritten = fresh(net, fires(net, 0.125, 0.5), seed=0)
    after = {name: tensor.numel() for name, tensor in rewritten.state.items() if tensor.dim() == 4}
    for name, (n, c, k, _) in list(shapes.items())[1:]:
        s, wide = round(0.125 * n), n // 2
        path = name.removesuffix(".weight")
        assert sum(count for key, count in after.items() if key.startswith(f"{path}.")) == (
            s * c + (n - wide) * s + wide * s * k * k
        )
    assert next(iter(after)) == next(iter(shapes))  # the first convolution stays


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 0), (5, 2, 1), (3, 2, 0), (7, 1, 3)])
def test_maps_have_the_size_of_the_convolutions(kernel, stride, padding):
    x = torch.rand(2, 4, 17, 17)
    convolution = torch.nn.Conv2d(4, 6, kernel, stride=stride, padding=padding)
    made = Fire(4, FireSizes(2, 3, 3), kernel=kernel, stride=stride, padding=padding)
    assert made(x).shape == convolution(x).shape
    # The narrow filters look at the middle of what the wide ones see.
    squeezed = made.squeeze_relu(made.squeeze(x))
    padded = torch.nn.functional.pad(squeezed, (padding,) * 4)
    rim = kernel // 2
    middles = padded[:, :, rim : padded.shape[2] - rim : stride, rim : padded.shape[3] - rim : stride]
    expected = torch.relu(torch.einsum("oi,bihw->bohw", made.expand1x1.weight[:, :, 0, 0], middles)
                          + made.expand1x1.bias[:, None, None])  # fmt: skip
    inside = made(x)[:, :3]
    if padding <= rim:
        assert torch.allclose(inside, expected, atol=1e-6)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd kernel, not 4"):
        Fire(3, FireSizes(1, 1, 1), kernel=4)


def test_the_first_pooling_moves_where_maps_keep_their_size():
    net = Net.new("vgg", CIFAR, seed=0, width=0.25)
    assert late(net) == {"edit": "delay", "layer": "stage1.pool", "stage": "stage2"}
    moved = fresh(net, [late(net)], seed=0)
    sizes = {}
    module = moved.module()
    for name in ("stage1", "stage2"):
        module.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: sizes.update({name: o.shape[-1]}))
    assert module(torch.zeros(1, *CIFAR)).shape == (1, 10)
    assert sizes == {"stage1": 32, "stage2": 8}
    assert late(Net.new("lenet", (1, 28, 28), seed=0)) is None  # its convolutions lose the rim


def test_the_same_seed_gives_the_same_weights_and_a_file_reads_back():
    net = Net.new("convnet", CIFAR, seed=3, width=0.5)
    one, other, third = (fresh(net, fires(net, 0.25, 0.5), seed) for seed in (0, 0, 1))
    assert one.hash == other.hash != third.hash
    assert Net.from_bytes(one.to_bytes()).hash == one.hash


@pytest.mark.parametrize(
    "edit",
    [
        {"edit": "fire", "layer": "stage1.pool", "squeeze": 1, "expand1x1": 1, "expand3x3": 1},
        {"edit": "fire", "layer": "stage2.conv1", "squeeze": 1, "expand1x1": 1, "expand3x3": 1},
        {"edit": "fire", "layer": "stage2.conv1", "squeeze": 0, "expand1x1": 16, "expand3x3": 16},
        {"edit": "delay", "layer": "stage2.conv1", "stage": "stage2"},
        {"edit": "delay", "layer": "stage1.pool", "stage": "nowhere"},
    ],
)
def test_edits_that_do_not_fit_are_one_sentence(edit):
    with pytest.raises(ValueError, match=r"^(fire|delay): "):
        Net(builder="convnet", input_shape=CIFAR, edits=(edit,)).module()


def test_a_net_without_a_second_convolution_is_refused():
    class Bench:
        seed = 0

    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.02)  # one filter in the second
    with pytest.raises(TechniqueError, match="fire needs a net with a second convolution"):
        fire(net, Bench())
