"""Ours pass every check, and a technique with one fault is caught by the check made for that fault."""

import dataclasses
from typing import Annotated

import numpy as np
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.builders.lenet import lenet
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.nets.routers.router import Router
from joulemark.techniques.technique import Range, load_technique, technique
from joulemark.testing import check_technique
from joulemark.vocabulary import TABLES, look_up

ABOUT = {"paper": "nobody 1900", "family": "test"}


@pytest.mark.parametrize("name", TABLES["technique"])
def test_ours_pass(name):
    check_technique(load_technique(name))


def test_early_exits_are_really_taken_in_the_checks(tmp_path):
    net = load_technique("conditional-deep-learning")(testing.baseline(), testing.workbench(tmp_path))
    module = net.module()
    images = torch.from_numpy(testing.generated()["validation"].images)
    with torch.no_grad():
        early = (module.run(images) - module(images)).abs().amax(1) > 1e-3
    assert 10 < int(early.sum()) < 100


def test_surroundings_are_left_as_they_were():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    check_technique(load_technique("small-dense"), knobs={"width": 0.3})
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@technique("good", **ABOUT)
def good(net, bench, *, share: Annotated[float, Range(0, 1)] = 0.5):
    """A chance to do nothing wrong."""
    random = torch.Generator().manual_seed(bench.seed)
    masks = {"classifier.hidden.weight": torch.rand(100, 160, generator=random) < share}
    return bench.fit(bench.fit(net.replace(masks=masks), epochs=1), epochs=1)


def test_a_third_partys_technique_passes_with_its_knobs():
    check_technique(good, knobs={"share": 0.25})


def asks_for_test_data(net, bench):
    next(bench.batches("test"))


def spends_too_much(net, bench):
    return bench.fit(net, epochs=bench.epochs + 1)


def random_without_seed(net, bench):
    return net.replace(masks={"stage2.conv.weight": torch.rand(10, 4, 5, 5) < 0.5})


def random_of_numpy_without_seed(net, bench):
    masks = {"stage2.conv.weight": torch.from_numpy(np.random.default_rng().random((10, 4, 5, 5)) < 0.5)}
    return bench.fit(net.replace(masks=masks), epochs=1)


def wrong_shape(net, bench):
    return Net.new("lenet", net.input_shape, seed=0, classes=7)


def returns_a_module(net, bench):
    return net.module()


def not_finite(net, bench):
    return net.replace(state={name: tensor * torch.inf for name, tensor in net.state.items()})


def not_resumable(net, bench):
    """The mistake of the lesson: what the callback saw is gone when the finished fit is not run again."""
    seen = []
    fitted = bench.fit(net, epochs=1, after_step=lambda step: seen.append(step.module.stage2.conv.weight > 0))
    return bench.fit(fitted.replace(masks={"stage2.conv.weight": seen[-1]} if seen else {}), epochs=1)


def repeats_fits(net, bench):
    """A step named by the clock is another step when the run is started again."""
    key = f"step {np.random.default_rng().random()}"
    return bench.remember(key, lambda: bench.fit(net, epochs=1))


def swallows_everything(net, bench):
    try:
        return bench.fit(net, epochs=1)
    except BaseException:  # noqa: BLE001 - the fault under test
        return net


def dynamic_in_secret(net, bench):
    exits = (Exit(after="stage1", router="exactly-one", threshold=0.5, features=576, classes=10),)
    head = {"exits.stage1.1.weight": torch.zeros(10, 576), "exits.stage1.1.bias": torch.zeros(10)}
    return net.replace(route=Route(kind="exits", exits=exits), state={**net.state, **head})


FAULTS = {
    asks_for_test_data: "asks-for-test-data raised ValueError: there is no split 'test' on a workbench",
    spends_too_much: "spends-too-much raised BudgetError: the budget is 2 epochs",
    random_without_seed: "random-without-seed is not deterministic",
    random_of_numpy_without_seed: "random-of-numpy-without-seed is not deterministic",
    wrong_shape: r"wrong-shape returned a net with outputs of shape \(2, 7\), not \(2, 10\)",
    returns_a_module: "returns-a-module returned Sequential, not a Net",
    not_finite: "not-finite returned a net whose outputs are not finite",
    not_resumable: "not-resumable is not resumable",
    repeats_fits: "repeats-fits is not resumable: of its 1 fits 1 was finished, and 1 ran",
    swallows_everything: "swallows-everything swallowed the exception that stopped it",
    dynamic_in_secret: "dynamic-in-secret returned a net that is dynamic, and its gives says float, static",
}


@pytest.mark.parametrize("function", FAULTS, ids=lambda function: function.__name__)
def test_a_fault_is_caught_by_the_check_made_for_it(function):
    made = technique(function.__name__.replace("_", "-"), **ABOUT)(function)
    with pytest.raises(AssertionError, match=f"^{FAULTS[function]}") as caught:
        check_technique(made)
    assert "\n" not in str(caught.value)


def test_what_is_no_technique_or_takes_other_nets_is_refused():
    with pytest.raises(AssertionError, match="is no technique: decorate it with"):
        check_technique(returns_a_module)
    made = technique("only-dynamic", takes={"float", "dynamic"}, **ABOUT)(returns_a_module)
    with pytest.raises(AssertionError, match="only-dynamic does not take the float, static net"):
        check_technique(made)


@technique("faulty", **ABOUT)
def faulty(net, bench):
    """Innocent: what is wrong in the tests below is elsewhere."""
    return net


@pytest.fixture
def module_with(monkeypatch):
    """Every net built in the test has its module passed through a function."""
    plain = Net.module

    def change(by):
        testing.baseline()  # trained before anything is wrong
        monkeypatch.setattr(Net, "module", lambda self, **how: by(plain(self, **how)))

    return change


def test_rows_that_look_at_their_neighbours_are_caught(module_with):
    class Centred(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x - x[:1] * 0.5)

    module_with(Centred)
    with pytest.raises(AssertionError, match="outputs of faulty for an image depend on the images beside it"):
        check_technique(faulty)


def test_a_run_that_is_not_the_route_is_caught(monkeypatch):
    from joulemark.nets.segments import Segments

    monkeypatch.setattr(Segments, "run", lambda self, x: self.forward_all(x)[0])
    with pytest.raises(AssertionError, match="run of conditional-deep-learning does not give each row the logits"):
        check_technique(load_technique("conditional-deep-learning"))


def test_a_net_that_saving_changes_is_caught(monkeypatch):
    plain = Net.from_bytes.__func__
    monkeypatch.setattr(Net, "from_bytes", classmethod(lambda cls, data: plain(cls, data).replace(formats={})))
    with pytest.raises(AssertionError, match="int8 returned a net that is another one when saved and read"):
        check_technique(load_technique("int8"))


def test_uncounted_work_is_caught(monkeypatch):
    from torch.ops import aten

    from joulemark.workloads import recording

    monkeypatch.setitem(recording.PRODUCTS, aten.addmm.default, lambda recorder, args, output: None)
    with pytest.raises(AssertionError, match=r"the workload of faulty counts [\d,]+ MACs where PyTorch's flop counter"):
        check_technique(faulty)


def test_an_export_that_differs_is_caught(monkeypatch):
    from joulemark.backends.onnx import OnnxNet

    plain = OnnxNet.run
    monkeypatch.setattr(OnnxNet, "run", lambda self, images: plain(self, images) + 0.01)
    with pytest.raises(AssertionError, match="ONNX Runtime and eager PyTorch disagree on the net of faulty"):
        check_technique(faulty)


def test_routers_get_carry_and_logits_and_nothing_else():
    """No labels in routing: a router is a module of (carry, logits)."""
    import inspect

    for router in (Router, *(look_up("router", name) for name in TABLES["router"])):
        assert list(inspect.signature(router.forward).parameters) == ["self", "carry", "logits"]


class Noisy(nn.Module):
    """Outputs are drawn anew at every call, as in a net with stochastic depth that is averaged at test time."""

    stochastic = True

    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


def noisy(**options):
    """A builder of a LeNet whose logits are noisy."""
    module = lenet(**options)
    module.add_module("noise", Noisy())
    return module


@pytest.fixture
def noisy_nets(monkeypatch):
    monkeypatch.setattr("joulemark.nets.builders.lenet.noisy", noisy, raising=False)
    monkeypatch.setitem(TABLES["builder"], "noisy", "joulemark.nets.builders.lenet:noisy")


def test_a_net_that_is_random_by_design_passes(noisy_nets):
    check_technique(faulty, net="noisy", options={"width": 0.1})


def test_a_random_net_that_does_not_say_so_is_caught(noisy_nets, monkeypatch):
    monkeypatch.setattr(Noisy, "stochastic", False)
    with pytest.raises(AssertionError, match="outputs of faulty for an image depend on the images beside it"):
        check_technique(faulty, net="noisy", options={"width": 0.1})


def test_a_random_net_must_still_be_one_function(noisy_nets, monkeypatch):
    """Its rows are compared in the mean: noise hides no row that looks at its neighbours."""
    plain = Net.module

    class Centred(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x - x[:1] * 0.5)

    testing.baseline(testing.generated_task("noisy", {"width": 0.1}))
    monkeypatch.setattr(Net, "module", lambda self, **how: Centred(plain(self, **how)))
    with pytest.raises(AssertionError, match="outputs of faulty for an image depend on the images beside it"):
        check_technique(faulty, net="noisy", options={"width": 0.1})


def test_a_technique_is_tried_on_other_nets():
    check_technique(load_technique("magnitude"), net="resnet20", options={"width": 0.25}, input_shape=(3, 12, 12))


def test_a_technique_that_only_fits_lenet_is_caught():
    with pytest.raises(AssertionError, match="good raised"):
        check_technique(good, net="convnet", options={"width": 0.1})


@technique("searching", search_epochs=1, **ABOUT)
def searching(net, bench):
    """Look at the policy images before training, as a search would."""
    with bench.search():
        tried = [bench.fit(net, epochs=1 / 3) for _ in range(2)]
        right = [sum(int((one.module()(x).argmax(1) == y).sum()) for x, y in bench.batches("policy")) for one in tried]
    return bench.fit(tried[right.index(max(right))], epochs=bench.epochs)


def test_a_technique_that_searches_has_the_budget_that_it_declares():
    with pytest.raises(AssertionError, match="raised BudgetError: the budget is 1 epochs of search an attempt"):
        check_technique(searching)  # 2 x 100 to fit, then 100 to look at each: one too many
    check_technique(dataclasses.replace(searching, search_epochs=2))
