"""The baseline of a user's task: the net that he gives, bit for bit, without image passes, made once."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
import torch
from tiny import tiny_splits, tiny_suite
from torch import nn

from joulemark import vocabulary
from joulemark.benchmarking.given import given_baseline
from joulemark.benchmarking.own_net import own_net, weights_digest
from joulemark.nets import own_nets
from joulemark.nets.net import Net
from joulemark.task import Own

LABEL = "user/t"


pytestmark = pytest.mark.usefixtures("own_registrations")


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.fixture
def session(open_session):
    module = plain()
    vocabulary.register_live("builder", LABEL, lambda: module)
    vocabulary.register_live("data set", LABEL, {})
    own_nets.remember_source(LABEL, "s")
    digest = weights_digest(own_net(LABEL, tiny_splits()["validation"].images[:8]))
    suite = tiny_suite()
    task = msgspec.structs.replace(suite.task, name="t", data=LABEL, own=Own(net=digest))
    return open_session(msgspec.structs.replace(suite, name="t", task=task))


def test_it_is_the_net_that_is_given_bit_for_bit_and_its_making_costs_nothing(session):
    made = given_baseline(session, 0)
    assert (made.technique, made.start, made.making.image_passes, made.making.seconds) == ("baseline", None, 0, 0.0)
    assert made.making.joules.value is None
    assert made.making.joules.reason == "the net was given, trained"
    saved = Net.from_bytes(session.store.read(f"nets/{made.net}.safetensors"))
    given = own_nets.given_net(LABEL).state_dict()
    assert saved.state.keys() == given.keys()
    assert all(torch.equal(saved.state[name], tensor) for name, tensor in given.items())
    assert saved.witness is not None


def test_it_is_made_once_and_is_one_net_for_every_seed(session):
    first = given_baseline(session, 0)
    assert given_baseline(session, 0) == first
    assert given_baseline(session, 1).net == first.net
    again = dataclasses.replace(session)  # a later run
    assert given_baseline(again, 0) == first


def test_a_net_that_is_another_one_each_time_is_refused(session):
    vocabulary.register_live("builder", LABEL, plain)
    with pytest.raises(ValueError, match=r"net\(\) of t gives other weights each time: let it load what was trained"):
        given_baseline(session, 0)
