"""Whatever a net puts out, its tensors are found; what fails is told by the name of what it raised."""

from __future__ import annotations

import threading
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from joulemark.nets.answers import NetFailsError, answer, copied, has_numbers, tensors_in

A, B = torch.ones(2), torch.zeros(3)


@dataclass
class Found:
    """As detectors answer."""

    logits: torch.Tensor
    more: list = field(default_factory=list)


class Named(dict):
    """As language models answer."""


Pair = namedtuple("Pair", ["a", "b"])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (A, [A]),
        ([A, (B, None)], [A, B]),
        (Pair(B, A), [B, A]),
        (OrderedDict(a=A, b=B), [A, B]),
        (Named(a=A), [A]),
        (UserDict(a=A), [A]),
        (Found(A, [B]), [A, B]),
        (A.numpy(), [A]),
        (np.float32(2.5), []),
        (2.5, [torch.tensor(2.5)]),
        (A.to_sparse(), [A]),
        ("text", []),
        (None, []),
        (3, []),
        (nn.Linear(2, 2), []),
        (Found, []),
    ],
)
def test_tensors_are_found_in_order(value, found):
    seen = list(tensors_in(value))
    assert len(seen) == len(found)
    assert all(torch.equal(one, other) for one, other in zip(seen, found, strict=True))


def test_what_holds_itself_ends():
    loop = Found(A)
    loop.more.append(loop)
    assert 1 <= len(list(tensors_in(loop))) <= 8


@pytest.mark.parametrize(
    ("outputs", "has"),
    [([A], True), ([A.long()], False), ([A > 0], False), ([A[:0]], False), ([], False), ([A.to(torch.cfloat)], True)],
)
def test_numbers_are_those_with_fractions(outputs, has):
    assert has_numbers(outputs) is has


class Net(nn.Module):
    def __init__(self, run) -> None:
        super().__init__()
        self.run, self.f = run, nn.Linear(2, 3)

    def forward(self, x):
        return self.run(self, x)


def test_random_numbers_are_the_same_each_time_and_leave_the_others_alone():
    net = Net(lambda net, x: nn.functional.dropout(net.f(x), 0.5))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second = answer(net, A[None]), answer(net, A[None])
    assert torch.equal(first[0], second[0]) and not first[0].requires_grad
    assert torch.equal(torch.rand(1), expected)


def test_what_a_net_raises_is_named():
    with pytest.raises(NetFailsError, match=r"^ZeroDivisionError$"):
        answer(Net(lambda net, x: 1 / 0), A)


def test_a_copy_is_a_copy_even_of_masked_weights():
    net = Net(lambda net, x: net.f(x))
    prune.l1_unstructured(net.f, "weight", 0.5)
    net(A[None])
    other = copied(net)
    with torch.no_grad():
        other.f.bias.add_(1.0)
    assert torch.allclose(answer(other, A[None])[0], answer(net, A[None])[0] + 1.0)


def test_what_cannot_be_copied_is_told():
    net = Net(lambda net, x: net.f(x))
    net.lock = threading.Lock()
    with pytest.raises(NetFailsError, match=r"^TypeError$"):
        copied(net)
