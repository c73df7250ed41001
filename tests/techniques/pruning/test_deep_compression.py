"""Weight sharing against k-means by hand and by brute force, the codebook's gradient against autograd, real bytes."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.compressed import compress, decompress
from joulemark.nets.net import Net
from joulemark.techniques.pruning.deep_compression import _clustered, deep_compression, share, tied
from joulemark.techniques.pruning.magnitude import prune
from joulemark.training import Step, fit, sgd


@functools.cache
def lenet() -> Net:
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.1)


def test_it_is_a_technique():
    testing.check_technique(deep_compression, knobs={"sparsity": 0.5, "bits": 3})


def test_the_clusters_are_the_best_there_are():
    """Every way to cut six sorted values in three, by brute force: the optimal clusters of one axis are intervals."""
    values = torch.tensor([-1.0, -0.9, 0.1, 0.2, 0.3, 2.0])
    best = min(
        (sum(float(part.var(unbiased=False) * len(part)) for part in torch.tensor_split(values, cuts)), cuts)
        for cuts in itertools.combinations(range(1, 6), 2)
    )
    expected = torch.cat([part.mean().expand(len(part)) for part in torch.tensor_split(values, best[1])])
    assert _clustered(values, 3).numpy() == pytest.approx(expected.numpy())


def test_few_values_stay_as_they_are():
    values = torch.tensor([0.1, 0.3, 0.1, 0.3])
    assert torch.equal(_clustered(values, 2), values)


@pytest.mark.parametrize("bits", [1, 4])
def test_survivors_share_values_and_zeros_stay(bits):
    pruned = prune(lenet(), 0.8)
    shared = share(pruned, bits)
    for name, mask in pruned.masks.items():
        weight = shared.state[name]
        assert not weight[~mask].any()
        assert len(weight[mask].unique()) <= 2**bits
        assert float(weight[mask].mean()) == pytest.approx(
            float(pruned.state[name][mask].mean()), abs=1e-5
        )  # centres are means
    assert {n: t for n, t in shared.state.items() if t.dim() == 1}.keys()
    assert all(torch.equal(shared.state[n], t) for n, t in pruned.state.items() if t.dim() == 1)


def test_the_gradient_of_a_shared_value_is_autograds_over_its_weights():
    shared = share(prune(lenet(), 0.5), 2)
    module, callback = shared.module(formats=False), tied(shared)
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    nn.functional.cross_entropy(module(x), y).backward()
    callback(Step(module, sgd(0.1)(module), progress=0.0, epoch=0, step=0))
    name = next(iter(shared.masks))
    there = shared.masks[name]
    codebook, indices, counts = shared.state[name][there].unique(return_inverse=True, return_counts=True)
    codebook.requires_grad_()

    def with_codebook() -> torch.Tensor:  # the weight as a function of its codebook
        return torch.zeros_like(shared.state[name]).masked_scatter(there, codebook[indices])

    loss = nn.functional.cross_entropy(torch.func.functional_call(module, {name: with_codebook()}, (x,)), y)
    (expected,) = torch.autograd.grad(loss, codebook)
    weight = dict(module.named_parameters())[name]
    assert (expected / counts)[indices].numpy() == pytest.approx(weight.grad[there].numpy(), abs=1e-7)


def test_trained_weights_stay_shared_and_the_file_is_what_was_noted():
    shared = share(prune(lenet(), 0.8), 3)
    module = shared.module(formats=False)
    images, labels = torch.rand(64, 1, 28, 28), torch.arange(64) % 10
    fit(module, images, labels, epochs=2, batch_size=16, seed=0, optimiser=sgd(0.05, weight_decay=1e-3),
        after_backward=tied(shared), masks=shared.masks)  # fmt: skip
    trained = shared.with_state(module)
    for name, mask in shared.masks.items():
        before, after = shared.state[name][mask], trained.state[name][mask]
        assert not torch.equal(before, after)
        assert len(after.unique()) <= 8
        pairs = set(zip(before.tolist(), after.tolist(), strict=True))
        assert len(pairs) == len(before.unique())  # who shared a value still does
    again = decompress(compress(trained))
    assert np.allclose(again.module()(images).detach(), trained.module()(images).detach(), atol=0)
