"""Nets that a user brings: called once, copied for every use, and never another net than the one that was saved."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from joulemark import vocabulary
from joulemark.nets import own_nets
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.nets.own_nets import (
    answers,
    given_net,
    is_own,
    own_structure,
    refuse_other_answers,
    remember_source,
    seeded_rows,
    source_of,
)

LABEL = "user/mine"


pytestmark = pytest.mark.usefixtures("own_registrations")


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()


def saved(make=plain, source="s" * 16) -> tuple[Net, bytes]:
    vocabulary.register_live("builder", LABEL, make)
    remember_source(LABEL, source)
    net = Net(builder=LABEL, input_shape=(1, 2, 2), source=source).with_state(own_structure(LABEL))
    return net, net.witnessed().to_bytes()


def changed(make, source="t" * 16) -> None:
    vocabulary.register_live("builder", LABEL, make)
    remember_source(LABEL, source)


def test_a_label_tells_whose_net_it_is():
    assert is_own("user/mine")
    assert not is_own("lenet")


def test_a_function_is_called_once_and_its_net_is_copied_for_every_use():
    calls = []
    vocabulary.register_live("builder", LABEL, lambda: calls.append(1) or plain())
    first, second = own_structure(LABEL), own_structure(LABEL)
    assert calls == [1]
    with torch.no_grad():
        first[1].weight.zero_()
    assert torch.equal(second[1].weight, plain()[1].weight)
    assert given_net(LABEL)[1].weight.count_nonzero()


def test_another_function_of_that_name_is_called():
    saved()
    changed(lambda: nn.Linear(7, 2))
    assert isinstance(given_net(LABEL), nn.Linear)


def test_without_its_task_file_it_says_which():
    with pytest.raises(ValueError, match=r"built by the task file mine\.py \(source 4f2a\): add --task mine\.py"):
        own_structure(LABEL, "4f2a")


def fails():
    raise OSError("no weights")


def locked():
    module = plain()
    module.lock = threading.Lock()
    return module


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fails, r"net\(\) of mine\.py raised OSError: no weights"),
        (lambda: "net.h5", r"net\(\) of mine\.py gave a str, not a torch module"),
        (locked, r"cannot be copied \(TypeError: .*\): hold nothing in it but layers"),
    ],
)
def test_what_cannot_be_used_gets_one_sentence(make, said):
    vocabulary.register_live("builder", LABEL, make)
    with pytest.raises(ValueError, match=said):
        own_structure(LABEL)


def test_a_saved_net_comes_back_bit_for_bit_with_what_it_answered():
    net, data = saved()
    again = Net.from_bytes(data)
    assert (again.builder, again.source) == (LABEL, "s" * 16)
    for name, tensor in plain().state_dict().items():
        assert torch.equal(again.state[name], tensor)
    expected = plain()(torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(torch.tensor(again.witness), expected.detach())
    assert again.replace(state=net.state).witness is None


def scaled(by):
    def make():
        class Scaled(nn.Sequential):
            def forward(self, x):
                return by * super().forward(x)

        return Scaled(nn.Flatten(), nn.Linear(4, 3)).eval()

    return make


@pytest.mark.parametrize("by", [1.0, 1.0001])
def test_a_changed_file_whose_net_answers_alike_loads(by):
    data = saved()[1]
    changed(scaled(by))
    again = Net.from_bytes(data).module()
    torch.testing.assert_close(again(seeded_rows((1, 2, 2))), by * plain()(seeded_rows((1, 2, 2))))


def test_a_changed_file_whose_net_answers_otherwise_is_refused():
    data = saved()[1]
    changed(scaled(1.01))
    with pytest.raises(ValueError, match=r"mine\.py was changed since this net was saved, and builds another one now"):
        Net.from_bytes(data)


def test_a_changed_file_is_found_in_the_parts_of_a_cascade():
    part, _ = saved()
    exits = (Exit(after="a", router="onward", threshold=1.0),)
    route = Route(kind="cascade", exits=exits, order=("a", "b"))
    whole = Net(builder="", input_shape=part.input_shape, parts={"a": part, "b": part}, route=route)
    data = whole.witnessed().to_bytes()
    assert Net.from_bytes(data).witness is not None
    changed(scaled(1.01))
    with pytest.raises(ValueError, match="builds another one now"):
        Net.from_bytes(data)


def test_a_changed_file_whose_net_has_other_layers_is_refused():
    data = saved()[1]
    changed(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 5)))
    with pytest.raises(ValueError, match="not a saved net"):
        Net.from_bytes(data)


def test_a_changed_file_is_refused_if_nobody_kept_what_the_net_answered():
    net, _ = saved()
    data = net.to_bytes()
    changed(plain)
    with pytest.raises(ValueError, match="does not say what the net answered"):
        Net.from_bytes(data)


def test_where_nobody_opened_the_file_a_saved_net_can_be_read_but_not_run():
    data = saved()[1]
    vocabulary._live.clear()
    own_nets._sources.clear()
    net = Net.from_bytes(data)
    assert source_of(LABEL) is None
    with pytest.raises(ValueError, match=r"add --task mine\.py"):
        net.module()


@pytest.mark.parametrize(
    ("before", "now", "apart"),
    [
        (((1.0, -1.0),), ((1.0009, -1.0),), False),
        (((1.0, -1.0),), ((1.002, -1.0),), True),
        (((1000.0, -1000.0),), ((1000.5, -1000.0),), False),
        (((1.0, -1.0),), ((1.0, -1.0, 0.0),), True),
        (((1.0, -1.0),), ((float("nan"), -1.0),), True),
        (((0.0, 0.0),), ((0.0, 0.0),), False),
    ],
)
def test_answers_are_alike_within_a_thousandth_of_their_size(before, now, apart):
    if not apart:
        return refuse_other_answers(LABEL, before, now)
    with pytest.raises(ValueError, match="builds another one now"):
        refuse_other_answers(LABEL, before, now)
    return None


def test_answers_are_of_the_seeded_rows():
    module = plain()
    torch.testing.assert_close(torch.tensor(answers(module, (1, 2, 2))), module(seeded_rows((1, 2, 2))).detach())
    assert torch.equal(seeded_rows((5,)), seeded_rows((5,)))


def test_noise_that_a_net_was_never_meant_for_keeps_no_witness():
    assert answers(nn.Sequential(nn.Flatten(), nn.LogSoftmax(1), Logarithm()), (1, 2, 2)) is None
    assert answers(Asserting(), (1, 2, 2)) is None


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log()


class Asserting(nn.Module):
    def forward(self, x):
        assert bool((x >= 0).all()), "pixels are not negative"
        return x


def test_a_file_that_a_net_is_read_from_is_part_of_its_source(monkeypatch):
    monkeypatch.setattr(own_nets, "_files", {})
    remember_source(LABEL, "s" * 16)
    alone = source_of(LABEL)
    found = set()
    for digest in ("a", "b"):
        own_nets._files[LABEL] = digest
        found.add(source_of(LABEL))
    assert alone == "s" * 16
    assert len(found - {alone}) == 2
