"""Regressions against polynomials that were planted, and against scikit-learn called by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from joulemark.calibrate.sampling import layer
from joulemark.energy.features import Layer, features
from joulemark.energy.fitting import FEWEST, fit, rmspe


def of_type(kind: str, count: int, seed: int = 0) -> list[Layer]:
    """The first layers of one type that a calibration would measure."""
    found, index = [], 0
    while len(found) < count:
        one = layer(seed, index)
        index += 1
        if one.type == kind:
            found.append(one)
    return found


def planted(layers: list[Layer], quantity: str, intercept: float, terms: dict[int, float]) -> list[float]:
    rows = [features(one, quantity) for one in layers]
    return [intercept + sum(value * row[place] for place, value in terms.items()) for row in rows]


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("conv", {120: 1.1e-11, 122: 4e-10, 123: 2e-9}),  # batch x operations, output, filters
        ("conv", {36: 3e-8, 120: 9e-12}),  # a cubic monomial and batch x operations
        ("fc", {9: 3e-11, 20: 5e-11}),
        ("pool", {83: 2e-9, 84: 1e-9}),
        ("relu", {0: 3e-10, 2: 2e-10}),
    ],
)
def test_planted_polynomials_are_recovered_exactly(kind, terms):
    layers = of_type(kind, 60 if kind != "relu" else 12)
    seconds = planted(layers, "seconds", 2e-6, terms)
    found = fit(layers, seconds, "seconds", seed=0, judge=False)
    unseen = of_type(kind, 30, seed=9)
    wanted = planted(unseen, "seconds", 2e-6, terms)
    assert [found.predict(one) for one in unseen] == pytest.approx(wanted, rel=1e-6)
    assert found.intercept == pytest.approx(2e-6, rel=1e-6)
    recovered = dict(found.coefficients)
    assert {place: recovered[place] for place in terms} == pytest.approx(terms, rel=1e-6)
    assert all(value < 1e-9 * min(terms.values()) for place, value in recovered.items() if place not in terms)


def test_planted_watts_are_found():
    layers = of_type("fc", 80)
    watts = planted(layers, "watts", 40.0, {5: 2.0, 9: 1.5})  # log2 of batch and of inputs
    found = fit(layers, watts, "watts", seed=0)
    unseen = of_type("fc", 30, seed=9)
    assert [found.predict(one) for one in unseen] == pytest.approx(
        planted(unseen, "watts", 40.0, {5: 2.0, 9: 1.5}), rel=0.02
    )
    assert found.rmspe is not None
    assert found.rmspe < 0.02


def test_noise_shows_in_the_held_out_error_and_nothing_becomes_negative():
    rng = np.random.default_rng(1)
    layers = of_type("fc", 60)
    exact = np.array(planted(layers, "seconds", 1e-5, {20: 1e-10}))
    found = fit(layers, list(exact * rng.lognormal(0.0, 0.2, len(exact))), "seconds", seed=0)
    assert 0.15 < found.rmspe < 0.45  # the noise alone is 0.2
    assert found.median_error < found.rmspe
    assert found.intercept >= 0.0
    assert all(value > 0.0 for _, value in found.coefficients)
    assert all(found.predict(one) >= 0.0 for one in of_type("fc", 50, seed=3))


def test_relative_errors_beat_the_papers_plain_lasso_over_many_decades():
    rng = np.random.default_rng(2)
    layers = of_type("pool", 60)
    exact = np.array(planted(layers, "seconds", 5e-6, {84: 2e-9}))
    found = fit(layers, list(exact * rng.lognormal(0.0, 0.05, len(exact))), "seconds", seed=0)
    assert 2 * found.rmspe < found.paper_rmspe


def test_the_same_seed_gives_the_same_fit():
    layers = of_type("fc", 40)
    seconds = planted(layers, "seconds", 1e-5, {20: 1e-10})
    noisy = [value * (1.1 if i % 3 else 0.9) for i, value in enumerate(seconds)]
    assert fit(layers, noisy, "seconds", seed=4) == fit(layers, noisy, "seconds", seed=4)


def test_element_wise_fits_are_least_squares_of_relative_errors():
    layers = of_type("add", 12)
    rng = np.random.default_rng(3)
    seconds = np.array([1e-6 + 1e-9 * one.moved for one in layers]) * rng.lognormal(0.0, 0.1, 12)
    found = fit(layers, list(seconds), "seconds", seed=0)
    rows = np.array([[1.0, *features(one, "seconds")] for one in layers])
    by_hand = LinearRegression(positive=True, fit_intercept=False).fit(rows / seconds[:, None], np.ones(12))
    assert [found.predict(one) for one in layers] == pytest.approx(list(rows @ by_hand.coef_), rel=1e-3)
    assert found.paper_rmspe is None


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match=f"29 measured layers of type conv are too few.*{FEWEST}"):
        fit(of_type("conv", 29), [1.0] * 29, "seconds", seed=0)
    with pytest.raises(ValueError, match=r"0 measured layers of type no are too few.*6"):
        fit([], [], "seconds", seed=0)


def test_rmspe_by_hand():
    assert rmspe(np.array([1.3, 0.6]), np.array([1.0, 1.0])) == pytest.approx((0.09 / 2 + 0.16 / 2) ** 0.5)
