"""The contract of a kind of layer: a module stands in for another one, and says itself what it needs and costs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from joulemark.backends.backend import precision_of, simulated, unlisted
from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.formats import layer_kind
from joulemark.nets.header import Format
from joulemark.nets.layers.layer import LayerKind, StandIn, needy, words
from joulemark.nets.net import Net
from joulemark.vocabulary import TABLES
from joulemark.workloads.recording import record


@torch.library.custom_op("joulemark_tests::halve_and_multiply", mutates_args=())
def halve_and_multiply(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return 0.5 * x @ weight.t()


@halve_and_multiply.register_fake
def _(x, weight):
    return x.new_empty(x.shape[0], weight.shape[0])


def count(recorder, args, output):
    x, weight = args
    tally = recorder.tally("halved", x, output, weight, weight_shape=tuple(weight.shape))
    tally.macs += x.shape[0] * weight.numel()


class Halved(StandIn):
    """A linear layer of half its size, by an operator of its own."""

    needs = "halving"
    counts = {torch.ops.joulemark_tests.halve_and_multiply.default: count}

    def forward(self, x):
        return halve_and_multiply(x, self.weight.detach()) + self.bias


def learned(layer, form):
    return form if not hasattr(layer, "step") else Format(kind="halved", high=layer.step)


KIND = LayerKind(
    trained=lambda layer, form: layer,
    deployed=lambda layer, form: Halved(layer),
    needs=lambda form: "halving",
    learned=learned,
)
FORMS = {"classifier.output": Format(kind="halved")}


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setitem(TABLES["kind of layer"], "halved", f"{__name__}:KIND")
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.2)


def test_a_kind_from_elsewhere_runs_is_counted_and_is_simulated_by_default(net):
    x, halved = torch.randn(3, 1, 28, 28), net.replace(formats=FORMS)
    bias = net.state["classifier.output.bias"]
    torch.testing.assert_close(halved.module()(x) - bias, 0.5 * (net.module()(x) - bias))
    assert halved.needs() == {"halving"}
    for one in (Eager(), OnnxRuntime()):
        assert simulated(halved, one) == f"{one.title} has no kernel for halving: what that saves is simulated"
        assert precision_of(halved, one) == "fp32"
    found = [one for one in record(halved.module(), x).operations if one.operator == "halved"]
    inside = net.module().get_submodule("classifier.output").in_features
    assert [(one.layer, one.macs) for one in found] == [("classifier.output", 3 * 10 * inside)]


def test_a_backend_that_lists_the_word_is_believed_and_one_that_says_more_is_heard(net):
    class Real(Eager):
        kernels = frozenset({"halving"})

        def simulated(self, net):
            return "only on Sundays"

    halved = net.replace(formats=FORMS)
    assert unlisted(halved, Real()) is None
    assert simulated(halved, Real()) == "only on Sundays"
    assert precision_of(halved, Real()) == "mixed"


def test_what_training_learned_comes_into_the_format(net):
    halved = net.replace(formats=FORMS)
    module = halved.module(training=True)
    assert halved.with_state(module).formats == FORMS
    module.get_submodule("classifier.output").step = 0.25
    assert halved.with_state(module).formats["classifier.output"].high == 0.25


def test_a_saved_net_keeps_its_kind_and_an_unknown_one_is_said(net, monkeypatch):
    data = net.replace(formats=FORMS).to_bytes()
    assert Net.from_bytes(data).formats == FORMS
    monkeypatch.delitem(TABLES["kind of layer"], "halved")
    with pytest.raises(ValueError, match=r"unknown kind of layer 'halved'\. Known: int"):
        Net.from_bytes(data).module()


def test_something_else_of_that_name_is_refused(monkeypatch):
    monkeypatch.setitem(TABLES["kind of layer"], "list", "builtins:list")
    with pytest.raises(ValueError, match="the kind of layer 'list' is a type, not a LayerKind"):
        layer_kind("list")


def test_a_stand_in_is_read_as_the_layer_and_copied_whole():
    stand_in = StandIn(nn.Conv2d(3, 4, 5, stride=2, bias=False))
    assert (stand_in.stride, stand_in.bias, len(list(stand_in.parameters()))) == ((2, 2), None, 1)
    assert copy.deepcopy(stand_in).stands_for.weight is not stand_in.weight
    with pytest.raises(AttributeError, match="no_such"):
        _ = stand_in.no_such


def test_words_are_those_of_all_layers():
    module = nn.Sequential(nn.Linear(2, 2), Halved(nn.Linear(2, 2)))
    assert words(module) == {"halving"}
    assert list(needy(module)) == [("1", "halving")]
