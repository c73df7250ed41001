"""Gain, delta rule, exactly-one rule and costs of early exits, by hand and in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net, usual_input_shape
from joulemark.nets.routers.exactly_one import exactly_one
from joulemark.techniques.conditional import conditional_deep_learning as cdl
from joulemark.techniques.conditional.conditional_deep_learning import conditional_deep_learning
from joulemark.techniques.technique import TechniqueError
from joulemark.workloads.recording import record

STAGES = ["stage1", "stage2", "classifier"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Heads on the generated task, and the workbench that trained them."""
    bench = testing.workbench(tmp_path_factory.mktemp("heads"))
    return cdl.train_heads(testing.baseline(), bench, STAGES[:-1]), bench


def with_logits(outputs_of, monkeypatch, rows):
    """A net with exits after both stages whose outputs for the policy images are made up."""

    class Fake(nn.Module):
        def forward_all(self, images):
            return [output[: len(images)] for output in outputs_of]

    class Bench:
        def batches(self, split):
            assert split == "policy"
            yield torch.zeros(rows, 1, 28, 28), torch.zeros(rows, dtype=torch.int64)

    exits = tuple(Exit(after=s, router="exactly-one", threshold=0.5, features=2, classes=3) for s in STAGES[:2])
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.1).replace(route=Route(kind="exits", exits=exits))
    monkeypatch.setattr(Net, "module", lambda self, **_: Fake())
    return net, Bench()


LEAVE, STAY = [0.9, 0.0, 0.0], [0.9, 0.9, 0.0]


def test_exactly_one_output_at_or_above_the_threshold_leaves():
    logits = torch.tensor([[0.5, 0.4, 0.1], [0.6, 0.7, 0.1], [0.4, 0.3, 0.1], [0.9, 0.9, 0.9], [-1.0, 2.0, 0.0]])
    assert exactly_one(logits, 0.5).tolist() == [True, False, False, False, True]


def test_both_readings_of_the_gain_by_hand(monkeypatch):
    """10 rows; 4 leave first, 3 of the other 6 at the second. MACs 100, 200, 700 a row, heads 2 x 3 = 6 each."""
    first = torch.tensor([LEAVE] * 4 + [STAY] * 6)
    second = torch.tensor([LEAVE] * 7 + [STAY] * 3)  # the first 4 have left already: they must not count again
    net, bench = with_logits([first, second, second], monkeypatch, 10)
    admitted, report = cdl.admit(net, bench, [100.0, 200.0, 700.0], 0.5, "incremental", admit_first=False, epsilon=0.0)
    assert admitted == STAGES[:2]
    assert [(r["reach"], r["leave"]) for r in report] == [(10, 4), (6, 3)]
    # literal: (1000 - cumulative) leave - cumulative stay, cumulative 106 then 312
    assert report[0]["gain_macs"]["literal"] == (1000 - 106) * 4 - 106 * 6
    assert report[1]["gain_macs"]["literal"] == (1000 - 312) * 3 - 312 * 3
    # incremental: those who go on pay for this head alone; all six paid the first head, leaving or not
    assert report[0]["gain_macs"]["incremental"] == (1000 - 106) * 4 - 6 * 6
    assert report[1]["gain_macs"]["incremental"] == (1000 - 306) * 3 - 6 * 3
    paid = 4 * 106 + 3 * 312 + 3 * 1012
    assert sum(r["gain_macs"]["incremental"] for r in report) == 10 * 1000 - paid


@pytest.mark.parametrize(
    ("reading", "admit_first", "epsilon", "expected"),
    [
        ("incremental", False, 0.0, ["stage2"]),  # at the first nobody leaves: it only costs
        ("incremental", True, 0.0, ["stage1", "stage2"]),
        ("incremental", False, 0.45, []),  # it saves 694 x 3 - 6 x 7 MACs of 10,000: 20 %
        ("literal", False, 0.0, []),  # charged for the trunk that 7 rows of 10 use anyway
    ],
)
def test_who_is_admitted(monkeypatch, reading, admit_first, epsilon, expected):
    none, some = torch.tensor([STAY] * 10), torch.tensor([LEAVE] * 3 + [STAY] * 7)
    net, bench = with_logits([none, some, some], monkeypatch, 10)
    macs = [100.0, 200.0, 700.0]
    admitted, report = cdl.admit(net, bench, macs, 0.5, reading, admit_first=admit_first, epsilon=epsilon)
    assert admitted == expected
    assert report[1]["reach"] == 10


def test_rows_of_a_dropped_stage_reach_the_next_one(monkeypatch):
    """The first stage would let 1 row go, too few to pay: that row counts again at the second."""
    one, some = torch.tensor([LEAVE] + [STAY] * 99), torch.tensor([LEAVE] * 50 + [STAY] * 50)
    net, bench = with_logits([one, some, some], monkeypatch, 100)
    macs = [900.0, 10.0, 90.0]
    admitted, report = cdl.admit(net, bench, macs, 0.5, "incremental", admit_first=False, epsilon=0.0)
    assert admitted == ["stage2"]
    assert (report[1]["reach"], report[1]["leave"]) == (100, 50)
    assert report[1]["gain_macs"]["incremental"] == (1000 - 916) * 50 - 6 * 50  # no head was admitted before


def test_a_stage_that_saves_nothing_is_dropped_with_its_head(tmp_path):
    bench = testing.workbench(tmp_path)
    net = conditional_deep_learning(testing.baseline(), bench, threshold=1.0, admit_first=False, epsilon=0.0)
    decided = {one["stage"]: one["admitted"] for one in bench.notes["stages"]}
    kept = {name.split(".")[1] for name in net.state if name.startswith("exits.")}
    assert kept == {stage for stage, admitted in decided.items() if admitted}
    assert {e.after for e in (net.route.exits if net.route else ())} == kept
    strict = conditional_deep_learning(testing.baseline(), bench, threshold=1.0, admit_first=False, epsilon=1.0)
    assert strict.hash == testing.baseline().hash  # no exit saves all operations: the net itself comes back
    forced = conditional_deep_learning(testing.baseline(), bench, threshold=0.5, admit_first=True, epsilon=1.0)
    assert [e.after for e in forced.route.exits] == ["stage1"]
    assert not any(name.startswith("exits.stage2") for name in forced.state)
    assert forced.module()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_trunk_is_untouched_bit_for_bit(trained):
    full, _ = trained
    before = testing.baseline().state
    assert all(torch.equal(full.state[name], tensor) for name, tensor in before.items())
    assert {name for name in full.state if name not in before} == {
        f"exits.{stage}.1.{kind}" for stage in STAGES[:2] for kind in ("weight", "bias")
    }


def test_heads_learn_by_the_delta_rule_towards_least_squares():
    """Steps along (target - output) x, from zero, near the solution of np.linalg.lstsq."""
    torch.manual_seed(0)
    full = Net.new("lenet", (1, 28, 28), seed=0, width=0.05)
    exits = (Exit(after="stage1", router="exactly-one", threshold=0.5, features=144, classes=10),)
    module = full.replace(route=Route(kind="exits", exits=exits), state={}).module()
    for name, parameter in module.named_parameters():
        if name.startswith("exits."):
            parameter.data.zero_()
    labels = torch.arange(400) % 10
    images = torch.randn(10, 1, 28, 28)[labels] + 0.5 * torch.randn(400, 1, 28, 28)
    with torch.no_grad():
        x = module.get_submodule("stage1")(images).flatten(1)
    power = float((x**2).sum(1).mean()) + 1.0
    optimiser = cdl.delta_rule({"stage1": power})(module)
    assert [p.requires_grad for n, p in module.named_parameters()] == [
        n.startswith("exits.") for n, _ in module.named_parameters()
    ]
    target = nn.functional.one_hot(labels, 10).float()
    head = module.get_submodule("exits.stage1.1")
    for step in range(300):
        optimiser.zero_grad()
        cdl.squared_error(module, images, labels).backward()
        if step == 0:  # from zero weights the gradient is that of the delta rule: -(target - 0) x'
            torch.testing.assert_close(head.weight.grad, -(target.T @ x) / 400)
            torch.testing.assert_close(head.bias.grad, -target.mean(0))
        optimiser.step()
    inputs = np.column_stack([x.numpy(), np.ones(len(x))])
    best, *_ = np.linalg.lstsq(inputs, target.numpy(), rcond=None)
    least = float(((inputs @ best - target.numpy()) ** 2).sum(1).mean())
    with torch.no_grad():
        reached = float(((head(x) - target) ** 2).sum(1).mean())
    start = float((target**2).sum(1).mean())
    assert least <= reached <= least + 0.05 * (start - least)


def test_a_stage_is_left_by_exactly_the_rows_of_the_rule_and_costs_the_closed_form(tmp_path):
    bench = testing.workbench(tmp_path)
    net = conditional_deep_learning(testing.baseline(), bench, threshold=0.4)
    images = torch.from_numpy(testing.generated()["validation"].images)
    module = net.module()
    with torch.no_grad():
        outputs, logits = module.forward_all(images), module.run(images)
    stages = cdl.stage_macs(record(testing.baseline().module(), images), STAGES)
    here, macs, expected = torch.ones(len(images), dtype=torch.bool), 0.0, torch.empty_like(logits)
    exits = {e.after: e for e in net.route.exits}
    position = 0
    for stage in STAGES:
        macs += stages[stage] * int(here.sum())
        if stage in exits or stage == STAGES[-1]:
            leaves = here.clone()
            if stage in exits:
                macs += exits[stage].features * 10 * int(here.sum())
                leaves &= (outputs[position] >= 0.4).sum(1) == 1
                assert 0 < int(leaves.sum()) < int(here.sum())  # or this test would test nothing
            expected[leaves] = outputs[position][leaves]
            here &= ~leaves
            position += 1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert record(module, images, batch_size=10).macs_per_input * len(images) == macs


def test_knobs_that_do_not_change_the_heads_do_not_train_them_again(tmp_path):
    bench = testing.workbench(tmp_path)
    conditional_deep_learning(testing.baseline(), bench, threshold=0.5)
    again = testing.workbench(tmp_path)
    conditional_deep_learning(testing.baseline(), again, threshold=0.7, reading="literal")
    assert (bench.fits_run, again.fits_run) == (1, 0)


def test_another_trunk_gets_heads_of_its_own(tmp_path):
    """In a composition the technique before may hand on another net: shared heads would bring the old trunk back."""
    conditional_deep_learning(testing.baseline(), testing.workbench(tmp_path))
    other = Net.new("lenet", (1, 28, 28), seed=9, width=0.2)
    bench = testing.workbench(tmp_path)
    bench.ledger.owner = "another attempt"
    net = conditional_deep_learning(other, bench)
    assert all(torch.equal(net.state[name], tensor) for name, tensor in other.state.items())
    assert bench.fits_run == 1


def test_unknown_reading_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(TechniqueError, match="unknown reading 'both'"):
        conditional_deep_learning(testing.baseline(), testing.workbench(tmp_path), reading="both")


@pytest.mark.parametrize(
    ("builder", "expected"),
    [
        ("lenet", ["stage1", "stage2"]),
        ("resnet20", ["layer1", "layer2"]),  # neither the stem nor layer3: a head there costs more than what is left
        ("convnet", ["stage1", "stage2"]),
        ("alexnet", ["stage1", "stage2", "stage3"]),
        ("vgg", ["stage1", "stage2", "stage3", "stage4"]),
    ],
)
def test_places_of_exits(builder, expected):
    net = Net.new(builder, usual_input_shape(builder), seed=0)
    macs = cdl.stage_macs(
        record(net.module(), torch.zeros(1, *net.input_shape)), [name for name, _ in net.module().named_children()]
    )
    assert cdl.places(net, macs, 10) == expected
    costs = cdl.segment_macs(macs, expected)
    assert len(costs) == len(expected) + 1
    assert sum(costs) == sum(macs.values())
    if builder == "resnet20":  # the stem's 442,368 are paid on the way to the first exit
        assert costs == [442_368 + 14_155_776, 12_976_128, 12_976_128 + 640]


@pytest.mark.parametrize("builder", ["lenet", "resnet20", "vgg"])
def test_heads_read_what_their_stage_gives_whatever_stands_before_the_first(builder):
    shape = usual_input_shape(builder)
    net, images = Net.new(builder, shape, seed=0), torch.randn(4, *shape)
    places = {"lenet": ["stage2"], "resnet20": ["layer1", "layer2"], "vgg": ["stage1", "stage4"]}[builder]
    given: dict[str, int] = {}
    module = net.module()
    for name in places:
        module.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: given.update({name: y[0].numel()}))
    module(images)

    class Bench:
        task, epochs = SimpleNamespace(classes=10), 1

        def batches(self, split, *, batch_size):
            yield images, torch.zeros(4, dtype=torch.int64)

        def fit(self, net, **_):
            return net

    full = cdl.train_heads(net, Bench(), places)
    assert {e.after: e.features for e in full.route.exits} == given
    assert full.module().forward_all(images)[0].shape == (4, 10)


class Branching(nn.Module):
    """Children that do not run one after the other."""

    def __init__(self, skips: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
        self.skips = skips

    def forward(self, x):
        return self.last(x + self.first(x) if self.skips else self.first(x))


@pytest.mark.parametrize(
    ("module", "macs", "message"),
    [
        (Branching(skips=True), {"first": 7056.0, "last": 2352.0}, "children run one after the other"),
        (Branching(skips=False), {"first": 7056.0, "last": 2352.0}, "are stages, at least two"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), {"0": 0.0, "1": 2352.0}, "are stages, at least two"),
        (nn.Sequential(nn.Linear(3, 3)), {"0": 9.0}, "children run one after the other"),
    ],
)
def test_nets_without_a_place_are_refused_in_one_sentence(monkeypatch, module, macs, message):
    monkeypatch.setattr(Net, "module", lambda self, **_: module)
    with pytest.raises(TechniqueError, match=message):
        cdl.places(Net(builder="lenet", input_shape=(1, 28, 28)), macs, 3)


def test_a_flat_chain_may_be_left_after_any_layer_that_leaves_enough_behind(monkeypatch):
    flat = nn.Sequential(nn.Conv2d(1, 2, 28), nn.ReLU(), nn.Conv2d(2, 100, 1), nn.Flatten(), nn.Linear(100, 3))
    monkeypatch.setattr(Net, "module", lambda self, **_: flat)
    macs = {"0": 1568.0, "1": 0.0, "2": 200.0, "3": 0.0, "4": 300.0}
    assert cdl.places(Net(builder="lenet", input_shape=(1, 28, 28)), macs, 3) == ["0", "1"]
