"""Least squares against LAPACK and the normal equations, the greedy step against trying every weight."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.techniques.pruning import reconstruction
from joulemark.techniques.pruning.reconstruction import Moments, Sums, error, reconstruct, refit, removed, restore


def layer(seed, *, groups=1, filters=3, inputs=5, samples=40, alike=0.5):
    """Inputs that resemble each other, weights, and outputs that other weights made, with noise."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(groups, samples, 1, generator=random, dtype=torch.float64)
    x = torch.randn(groups, samples, inputs, generator=random, dtype=torch.float64) + alike * common
    weights = torch.randn(groups, filters, inputs, generator=random, dtype=torch.float64)
    y = x @ weights.mT + 0.3 * torch.randn(groups, samples, filters, generator=random, dtype=torch.float64)
    return x, y, weights


def moments(x, y, *, centred=False):
    sums = Sums()
    for start in range(0, x.shape[1], 7):  # in batches
        sums.add(x[:, start : start + 7], y[:, start : start + 7])
    return sums.moments(centred=centred)


def masks(seed, weights, share=0.5):
    return torch.rand(weights.shape, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("centred", [False, True])
def test_the_error_from_moments_is_that_of_the_samples(centred):
    x, y, weights = layer(0, groups=2)
    other = weights * masks(1, weights)
    wrong = y - x @ other.mT
    expected = wrong.var(1, correction=0) if centred else wrong.square().mean(1)
    torch.testing.assert_close(error(moments(x, y, centred=centred), other), expected)


def test_means_and_covariances_are_numpys():
    x, y, _ = layer(3)
    sums = Sums()
    sums.add(x, y)
    found = sums.moments(centred=True)
    both = np.cov(x[0].T, y[0].T, bias=True)
    np.testing.assert_allclose(found.gram[0], both[:5, :5])
    np.testing.assert_allclose(found.cross[0], both[5:, :5])
    np.testing.assert_allclose(found.square[0], np.diag(both)[5:])
    np.testing.assert_allclose(sums.means[0][0], x[0].mean(0))
    np.testing.assert_allclose(sums.means[1][0], y[0].mean(0))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("chunk", [1 << 24, 30])
def test_refitted_weights_are_those_of_lapack(groups, chunk, monkeypatch):
    """Without a ridge: plain least squares on the support. With it: the same with rows that pull to the weights."""
    monkeypatch.setattr(reconstruction, "CHUNK", chunk)
    x, y, weights = layer(4, groups=groups, filters=4, inputs=6)
    support = masks(5, weights, 0.6)
    support[0, 0] = False  # a filter with nothing left
    found = moments(x, y)
    for ridge in (0.0, 1.0, 20.0):
        got = refit(found, weights, support, ridge=ridge)
        for g, f in itertools.product(range(groups), range(4)):
            places = support[g, f]
            rho = ridge * x[g].square().sum() / x.shape[1] / x.shape[1]
            pull = (x.shape[1] * rho).sqrt() * torch.eye(int(places.sum()), dtype=torch.float64)
            rows = torch.cat([x[g][:, places], pull])
            wanted = torch.cat([y[g, :, f], pull @ weights[g, f, places]])
            expected = torch.zeros(6, dtype=torch.float64)
            if places.any():
                expected[places] = torch.linalg.lstsq(rows, wanted[:, None]).solution[:, 0]
            torch.testing.assert_close(got[g, f], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("groups", [1, 3])
def test_filters_that_read_the_same_inputs_are_solved_at_once(groups):
    """One system for all of them, and the same weights as when each is solved by itself."""
    x, y, weights = layer(8, groups=groups, filters=4, inputs=6)
    support = masks(9, weights[:, :1], 0.6).expand(weights.shape)
    found = moments(x, y)
    odd = torch.cat([weights, weights[:, :1]], dim=1)  # a filter more, with another support: no longer all alike
    apart = torch.cat([support, ~support[:, :1]], dim=1)
    more = found._replace(
        cross=torch.cat([found.cross, found.cross[:, :1]], dim=1),
        square=torch.cat([found.square, found.square[:, :1]], 1),
    )
    torch.testing.assert_close(refit(found, weights, support), refit(more, odd, apart)[:, :4])


def test_refitting_by_hand():
    """Two inputs of which one is kept: a = sum(y x) / sum(x x), and the trained value where the input is always 0."""
    x = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]], dtype=torch.float64)
    y = torch.tensor([[[3.0], [4.0]]], dtype=torch.float64)
    weights = torch.tensor([[[1.0, 7.0]]], dtype=torch.float64)
    found = moments(x, y)
    assert refit(found, weights, torch.tensor([[[True, False]]]), ridge=0.0).tolist() == [[[11 / 5, 0.0]]]
    assert refit(found, weights, torch.tensor([[[False, True]]])).tolist() == [[[0.0, 7.0]]]


def test_a_layer_that_sees_only_zeros_keeps_its_weights():
    x = torch.zeros(1, 9, 4, dtype=torch.float64)
    weights = torch.randn(1, 2, 4, dtype=torch.float64)
    support = masks(0, weights)
    got = refit(moments(x, torch.zeros(1, 9, 2, dtype=torch.float64)), weights, support)
    torch.testing.assert_close(got, weights * support)


@pytest.mark.parametrize("inputs", [[0.1, 0.7], [0.3, 1.1, 0.2]])
def test_a_layer_whose_inputs_never_change_keeps_its_weights(inputs):
    """As behind a layer of which only the bias is left."""
    random = torch.Generator().manual_seed(0)
    sums = Sums()
    for _ in range(4):
        sums.add(torch.tensor(inputs).expand(1, 1000, -1), torch.randn(1, 1000, 2, generator=random))
    weights = torch.ones(1, 2, len(inputs), dtype=torch.float64)
    torch.testing.assert_close(refit(sums.moments(centred=True), weights, weights > 0), weights)


def test_the_pull_is_that_of_one_more_sample():
    """One input: (sum y x + mean x x w) / (sum x x + mean x x), by hand; and nothing without samples."""
    x, y = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[3.0], [4.0]]])
    weights = torch.tensor([[[1.0]]], dtype=torch.float64)
    assert refit(moments(x, y), weights, weights > 0).tolist() == [[[(11 + 2.5) / (5 + 2.5)]]]
    with pytest.raises(ValueError, match="no samples"):
        Sums().moments(centred=True)


def greedy(found, weights, support, candidates, count):
    """One weight after the other, each found by trying all of them."""
    support = support.clone()
    for _ in range(count):
        free = (candidates & ~support).nonzero().tolist()
        if not free:
            break
        tried = []
        for place in free:
            with_it = support.clone()
            with_it[tuple(place)] = True
            tried.append(float(error(found, weights * with_it).sum()))
        support[tuple(free[int(np.argmin(tried))])] = True
    return support


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_restoring_gives_back_what_trying_every_weight_finds(seed, groups):
    x, y, weights = layer(seed, groups=groups, alike=1.5)
    support, candidates = masks(seed + 10, weights, 0.2), masks(seed + 20, weights, 0.8)
    for count in (0, 1, 4, 100):
        expected = greedy(moments(x, y), weights, support, candidates, count)
        got = restore(moments(x, y), weights, support, candidates, count, at_once=1)
        assert torch.equal(got, expected)


def test_together_as_many_come_back_and_none_that_may_not():
    x, y, weights = layer(1, filters=20, inputs=30, samples=200)
    support, candidates = masks(2, weights, 0.1), masks(3, weights, 0.7)
    for together in (None, 3, 100):
        got = restore(moments(x, y), weights, support, candidates, 57, at_once=together)
        assert int(got.sum()) == int(support.sum()) + 57
        assert not (got & ~(support | candidates)).any()
        assert not (support & ~got).any()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    filters=st.integers(1, 5),
    inputs=st.integers(1, 7),
    samples=st.integers(1, 12),
    alike=st.floats(0.0, 30.0),
    share=st.floats(0.0, 1.0),
    dead=st.booleans(),
)
def test_the_error_is_never_above_that_of_magnitude_pruning(seed, filters, inputs, samples, alike, share, dead):
    """At the same number of weights, refitted or not, and also where few samples say nothing of most inputs."""
    x, y, weights = layer(seed, filters=filters, inputs=inputs, samples=samples, alike=alike)
    if dead:
        x[:, :, 0] = 0.0
    alive = masks(seed + 1, weights, 0.9)
    alive[0, 0, 0] = True
    count = max(1, round(share * int(alive.sum())))
    found = moments(x, y)
    got, kept = reconstruct(found, weights, alive, count)
    assert int(kept.sum()) == count
    assert not (kept & ~alive).any()
    assert not got[~kept].any()
    order = torch.where(alive, weights.abs(), -1.0).flatten().argsort(descending=True)[:count]
    plain = torch.zeros(weights.numel(), dtype=torch.float64)
    plain[order] = weights.flatten()[order]
    mine, its = ((y - x @ w.mT).square().mean(1).sum() for w in (got, plain.view_as(weights)))
    assert float(mine) <= float(its) * (1 + 1e-9) + 1e-9


def test_weights_that_cancel_each_other_go_before_a_smaller_one_that_nothing_makes_up_for():
    x = torch.randn(1, 500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x[:, :, [0, 1, 1, 2]]  # two inputs are equal
    weights = torch.tensor([[[3.0, 1.0, -1.0, 0.9]]], dtype=torch.float64)
    found = moments(x, x @ weights.mT)
    got, kept = reconstruct(found, weights, torch.ones_like(weights, dtype=torch.bool), 2)
    assert kept.tolist() == [[[True, False, False, True]]]
    np.testing.assert_allclose(got.numpy(), [[[3.0, 0.0, 0.0, 0.9]]], atol=1e-6)


def test_the_error_of_plain_removal_by_hand():
    gram = torch.tensor([[[4.0, 1.0], [1.0, 9.0]]], dtype=torch.float64)
    weights = torch.tensor([[[2.0, 1.0], [-3.0, 0.5]]], dtype=torch.float64)
    alive = torch.ones_like(weights, dtype=torch.bool)
    assert removed(gram, weights, alive, 4) == 0.0
    assert removed(gram, weights, alive, 3) == 0.5**2 * 9
    assert removed(gram, weights, alive, 2) == 0.5**2 * 9 + 1.0**2 * 9
    assert removed(gram, weights, alive, 1) == 0.25 * 9 + (4 * 4 + 9 + 2 * 2 * 1)
    alive[0, 0] = False
    assert removed(gram, weights, alive, 1) == 0.25 * 9


def test_moments_are_of_one_shape_for_plain_and_grouped_layers():
    x, y, _ = layer(0, groups=3, filters=2, inputs=4)
    found = moments(x, y)
    assert isinstance(found, Moments)
    assert [tuple(one.shape) for one in found[:3]] == [(3, 4, 4), (3, 2, 4), (3, 2)]
