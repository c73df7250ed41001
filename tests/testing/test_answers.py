"""When two ways of computing a net agree: bits, tolerance, and random numbers by their means."""

import torch
from torch import nn

from joulemark import testing
from joulemark.testing.answers import DRAWS, TOLERANCE, agree, is_stochastic, logits_of, same, seeded


class Drawn(nn.Module):
    stochastic = True

    def forward(self, x):
        return x + torch.randn_like(x)


def test_a_module_says_of_any_part_that_it_is_random():
    assert is_stochastic(nn.Sequential(nn.ReLU(), nn.Sequential(Drawn())))
    assert not is_stochastic(nn.Sequential(nn.ReLU(), nn.Dropout()))


def test_static_nets_agree_within_the_tolerance_and_are_run_once():
    net, module, calls = testing.baseline(), nn.Identity(), []
    logits = torch.randn(5, 10)
    run = lambda: calls.append(1) or logits  # noqa: E731
    assert agree(net, module, run, lambda: logits + 0.9 * TOLERANCE)
    assert not agree(net, module, run, lambda: logits + 1.5 * TOLERANCE)
    assert len(calls) == 2


def test_random_nets_agree_if_their_means_do():
    net, module, x = testing.baseline(), Drawn(), torch.randn(100, 10)
    run = lambda: logits_of(module, x)  # noqa: E731
    assert not same(net, run(), run())
    assert agree(net, module, run, run)
    assert not agree(net, module, run, lambda: run() + 2.0)  # 11 standard errors of the difference of 64 draws each
    assert DRAWS == 64


def test_a_seed_makes_a_random_net_repeatable():
    module, x = Drawn(), torch.zeros(2, 10)
    first, again, other = (seeded(lambda: module(x), seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nets_in_integers_agree_by_their_answers(monkeypatch):
    import dataclasses

    from joulemark.nets.formats import Format

    net = dataclasses.replace(testing.baseline(), formats={"stage1.conv": Format(weight_bits=8, activation_bits=8)})
    answers = torch.eye(10).repeat(10, 1)
    few, many = answers.clone(), answers.clone()
    few[:5], many[:6] = answers[:5].roll(1, 1), answers[:6].roll(1, 1)
    assert same(net, answers, few)  # 95 of 100
    assert not same(net, answers, many)
