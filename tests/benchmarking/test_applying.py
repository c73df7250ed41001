"""Applying a chain to a net: a workbench for each link, anybody's code held in check, and one sentence for failures."""

from __future__ import annotations

import os

import msgspec
import numpy as np
import pytest
import torch
from tiny import technique_file, tiny_suite

from joulemark.benchmarking.applying import applied, usable
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.errors import AttemptError
from joulemark.benchmarking.ledger import Ledger
from joulemark.benchmarking.session import StoredNet
from joulemark.nets.net import Net
from joulemark.store import StoreError
from joulemark.training import fit, sgd

TRAINED = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)


@pytest.fixture
def apply(open_session):
    """Applies a chain to a net by a ledger of its own: what came out, its notes, and what is booked."""
    owners = iter(range(100))

    def apply(names: str, files=(), *, suite=None, knobs=None, seed=0, net=TRAINED, code=None):
        session = open_session(suite)
        (chain,) = chains_of([names], list(files))
        ledger = Ledger(session.store, f"owner-{next(owners)}")
        given = knobs if knobs is not None else [{} for _ in chain]
        made, notes = applied(
            session, chain, given, seed, StoredNet(net, net.hash), ledger, code_of=lambda one: code or {}
        )
        return made, notes, ledger.cost

    return apply


def test_every_link_has_its_own_epochs_notes_and_shared_steps(apply, tmp_path):
    body = """
    bench.note(f"seen by {id(bench)}", [bench.epochs, bench.search_epochs, sorted(bench.notes), bench.shared])
    return bench.fit(net, epochs=bench.epochs)"""
    files = [technique_file(tmp_path, name, body) for name in ("one", "two", "three")]
    budget = type(tiny_suite().budget)(trained_epochs=7, trained_attempts=2, scratch_epochs=14, scratch_attempts=1)
    _, notes, cost = apply("one+two+three", files, suite=tiny_suite(budget=budget))
    seen = list(notes.values())
    assert len(seen) == 3  # three workbenches
    assert [one[0] for one in seen] == [2, 2, 3]
    assert all(one[1:3] == [0, []] for one in seen)
    assert len({one[3] for one in seen}) == 3
    assert cost.image_passes == 7 * 300


def test_a_link_cannot_spend_what_another_left(apply, tmp_path):
    saves = technique_file(tmp_path, "saves", "    return net")
    greedy = technique_file(tmp_path, "greedy", "    return bench.fit(net, epochs=2)")
    with pytest.raises(AttemptError, match="greedy raised BudgetError: the budget is 1 epochs of training an attempt"):
        apply("saves+greedy", [saves, greedy])


def test_a_technique_that_stands_three_times_keeps_all_its_notes(apply, tmp_path):
    body = "    bench.note('strength', strength)\n    return net"
    file = technique_file(tmp_path, "tells", body, trains=False)
    other = technique_file(tmp_path, "other", "    bench.note('mine', 4)\n    return net", trains=False)
    _, notes, _ = apply("tells+tells+other+tells", [file, other])
    assert notes == {"strength": 1.0, "tells.strength": 1.0, "mine": 4, "tells.4.strength": 1.0}
    _, notes, _ = apply("tells:strength=1+tells:strength=2+tells:strength=3", [file])
    assert list(notes.values()) == [1, 2, 3]
    assert list(notes)[:2] == ["strength", "tells:strength=2.strength"]
    _, notes, _ = apply("tells", [file])
    assert notes == {"strength": 1.0}


def test_knobs_reach_the_technique_that_they_name(apply, tmp_path):
    files = [
        technique_file(tmp_path, name, f"    bench.note('{name}', strength)\n    return net", trains=False)
        for name in ("left", "right")
    ]
    _, notes, _ = apply("left+right", files, knobs=[{"strength": 2.0}, {"strength": 3.0}])
    assert notes == {"left": 2.0, "right": 3.0}
    _, notes, _ = apply("left", files, knobs=[{"strength": 4.0}])
    assert notes == {"left": 4.0}


def test_knobs_are_for_as_many_links_as_there_are(apply, tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        apply("left", [technique_file(tmp_path, "left", "    return net", trains=False)], knobs=[])


def test_a_link_takes_what_the_one_before_it_returned(apply, tmp_path):
    adds = """
    state = {name: t + strength if t.is_floating_point() else t for name, t in net.state.items()}
    return net.replace(state=state)"""
    file = technique_file(tmp_path, "adds", adds, trains=False)
    made, _, _ = apply("adds:strength=2+adds:strength=3", [file])
    name = "stage1.conv.bias"
    torch.testing.assert_close(made.state[name], TRAINED.state[name] + 5)


def test_settings_of_a_chain_share_steps_and_nothing_else_does(apply, tmp_path):
    """Shared is what the same link, code, net and seed would make again, whatever the knobs."""
    body = "    bench.note('shared', bench.shared)\n    return net"
    file = technique_file(tmp_path, "tells", body, trains=False)
    twin = technique_file(tmp_path, "twin", body, trains=False)

    def shared(names: str = "tells", **changes) -> str:
        return apply(names, [file, twin], **changes)[1]["shared"]

    usual = shared()
    assert shared(knobs=[{"strength": 2.0}]) == usual
    others = [
        shared("twin"),
        shared("tells+twin"),
        shared(seed=1),
        shared(net=Net.new("lenet", (1, 28, 28), seed=1, width=0.1)),
        shared(code={"x": "y"}),
        shared(suite=tiny_suite(limits_points=(1.0,))),
        shared(suite=tiny_suite(backends=("onnxruntime",))),
        shared(suite=tiny_suite(threads=2)),
        shared(suite=tiny_suite(models=("systolic",))),
    ]
    assert len({usual, *others}) == 1 + len(others)


def test_a_declared_search_is_noted(apply, tmp_path):
    body = """
    with bench.search():
        tried = bench.fit(net, epochs=1)
    return bench.fit(tried, epochs=bench.epochs)"""
    _, notes, cost = apply("searches", [technique_file(tmp_path, "searches", body, search_epochs=1)])
    assert notes == {"search": {"epochs": 1, "image_passes": 300}}
    assert cost.image_passes == 300 + 2 * 300


def test_the_baseline_is_the_recipe_by_hand(open_session):
    """The same net from the same images by the loop alone."""
    session = open_session()
    ledger = Ledger(session.store, "base")
    made, notes = applied(session, (), (), 0, None, ledger, code_of=lambda one: {})
    recipe, train = session.suite.task.recipe, session.splits["train"]
    net = Net.new(recipe.builder, session.suite.task.input_shape, seed=0, **recipe.options)
    module = net.module()
    torch.set_num_threads(session.machine.cores)
    fit(module, torch.from_numpy(train.images), torch.from_numpy(train.labels), epochs=recipe.epochs, seed=0,
        batch_size=recipe.batch_size, optimiser=sgd(recipe.learning_rate, momentum=recipe.momentum,
                                                    weight_decay=recipe.weight_decay))  # fmt: skip
    assert made.hash == net.with_state(module).hash
    assert notes == {}
    assert ledger.cost.image_passes == 2 * 300


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"wide": 2}}, r"^the baseline of task tiny cannot be built: .*wide"),
        ({"builder": "vgg", "options": {"width": 0.1}}, "^the baseline of task tiny cannot be trained: "),
    ],
)
def test_a_recipe_that_makes_no_baseline_is_one_sentence(open_session, changes, words):
    suite = tiny_suite()
    recipe = msgspec.structs.replace(suite.task.recipe, **changes)
    session = open_session(tiny_suite(task=msgspec.structs.replace(suite.task, recipe=recipe)))
    with pytest.raises(AttemptError, match=words) as caught:
        applied(session, (), (), 0, None, Ledger(session.store, "base"), code_of=lambda one: {})
    assert "\n" not in str(caught.value)


def test_no_workbench_ever_holds_test_images(apply, tmp_path):
    path = technique_file(tmp_path, "mine", "    bench.note('splits', sorted(bench.splits))\n    return net")
    assert apply("mine", [path])[1] == {"splits": ["policy", "train", "validation"]}


def test_a_technique_that_writes_into_its_net_changes_nobody_elses(apply, tmp_path):
    body = "    for tensor in net.state.values():\n        tensor.zero_()\n    raise RuntimeError('after that')"
    before = TRAINED.to_bytes()
    with pytest.raises(AttemptError, match=r"^mine raised RuntimeError: after that$"):
        apply("mine", [technique_file(tmp_path, "mine", body)])
    assert TRAINED.to_bytes() == before


def test_what_a_technique_prints_stays_out_of_standard_output(apply, tmp_path, capsys):
    apply("talks", [technique_file(tmp_path, "talks", "    print('here I am')\n    return net")])
    out, err = capsys.readouterr()
    assert "here I am" not in out
    assert "here I am" in err


STUBBORN = """while True:
            try:
                time.sleep(60)
            except BaseException as error:
                if bench.notes.setdefault('caught', []) == [1, 1]:
                    raise error
                bench.notes['caught'].append(1)"""


@pytest.mark.parametrize("hang", ["time.sleep(60)", "[None for _ in iter(int, 1)]", STUBBORN])
def test_a_technique_that_hangs_is_stopped(apply, tmp_path, hang, monkeypatch):
    monkeypatch.setattr("joulemark.machine.time_limit.AGAIN_SECONDS", 0.05)
    body = f"    try:\n        {hang}\n    except Exception:\n        pass\n    return net"
    suite = tiny_suite(budget=msgspec.structs.replace(tiny_suite().budget, minutes=0.002))
    with pytest.raises(AttemptError, match=r"^mine ran longer than 0\.002 minutes and was stopped$"):
        apply("mine", [technique_file(tmp_path, "mine", body)], suite=suite)


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("RuntimeError('no luck\\nat all')", "^mine raised RuntimeError: no luck at all$"),
        ("SystemExit(0)", "^mine raised SystemExit: 0$"),
        ("BaseException()", "^mine raised BaseException: BaseException$"),
        ("ValueError('x' * 5000)", r"^mine raised ValueError: x{297}\.\.\.$"),
    ],
)
def test_whatever_a_technique_raises_is_one_sentence(apply, tmp_path, raised, words):
    with pytest.raises(AttemptError, match=words):
        apply("mine", [technique_file(tmp_path, "mine", f"    raise {raised}")])


@pytest.mark.parametrize(
    ("raised", "kind"),
    [("KeyboardInterrupt", KeyboardInterrupt), ("joulemark.store.StoreError('the disk is full')", StoreError)],
)
def test_a_person_and_a_full_disk_are_nobodys_technique(apply, tmp_path, raised, kind):
    with pytest.raises(kind) as caught:
        apply("mine", [technique_file(tmp_path, "mine", f"    import joulemark.store\n    raise {raised}")])
    assert type(caught.value) is kind


def test_every_link_may_take_all_minutes(apply, tmp_path):
    """The limit is of one technique and begins anew for the next."""
    suite = tiny_suite(budget=msgspec.structs.replace(tiny_suite().budget, minutes=0.01))
    file = technique_file(tmp_path, "slow", "    time.sleep(0.4)\n    return net", trains=False)
    made, _, cost = apply("slow+slow", [file], suite=suite)
    assert made.hash == TRAINED.hash
    assert cost.seconds > 0.8


def test_a_technique_always_gets_the_same_thread_count(apply, open_session, tmp_path):
    path = technique_file(tmp_path, "threads", "    bench.note('threads', torch.get_num_threads())\n    return net")
    torch.set_num_threads(1)  # as after measuring
    assert apply("threads", [path])[1] == {"threads": open_session().machine.cores}


@pytest.mark.parametrize("end", ["return net", "raise RuntimeError"])
def test_what_a_technique_sets_for_the_whole_process_is_undone(apply, tmp_path, end):
    body = f"""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    {end}"""
    try:
        apply("sets", [technique_file(tmp_path, "sets", body)])
        assert end == "return net"
    except AttemptError:
        assert end != "return net"
    fresh = torch.zeros(1)
    assert (fresh.dtype, fresh.device.type, torch.is_grad_enabled()) == (torch.float32, "cpu", True)
    modes = torch.overrides._get_current_function_mode_stack()
    assert modes == []  # a default device, "cpu" too, is a mode that every operator would go through


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_copy_of_the_process_that_a_technique_forks_does_not_go_on(apply, tmp_path):
    body = """
    import os, signal, warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that a child would not have
        child = os.fork()
    if child:
        ended = 0, 0
        for _ in range(100):
            ended = os.waitpid(child, os.WNOHANG) if ended == (0, 0) else ended
            time.sleep(0.0 if ended[0] else 0.05)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)  # it would go on with these tests
        bench.note("child", os.waitstatus_to_exitcode(ended[1]) if ended[0] else "went on")
    return net"""
    assert apply("forks", [technique_file(tmp_path, "forks", body)])[1] == {"child": 1}


def test_what_is_no_usable_net_is_said_in_one_sentence():
    assert usable(TRAINED, "mine", 10).hash == TRAINED.hash
    nothing = {name: tensor * float("nan") for name, tensor in TRAINED.state.items()}
    for returned, classes, words in [
        (None, 10, "^mine returned NoneType, not a Net$"),
        (TRAINED.module(), 10, "^mine returned Sequential, not a Net$"),
        (TRAINED, 7, r"^mine returned a net with outputs of shape \(2, 10\), not \(2, 7\)$"),
        (TRAINED.replace(options={"width": "wide"}), 10, "^mine returned a net that does not run: "),
        (TRAINED.replace(builder="nothing"), 10, "^mine returned a net that does not run: unknown builder 'nothing'"),
        (TRAINED.replace(input_shape=(3, 28, 28)), 10, "^mine returned a net that does not run: "),
        (TRAINED.replace(state=nothing), 10, "^mine returned a net whose outputs are not finite$"),
        (TRAINED.replace(state={"x": np.zeros(1)}), 10, "^mine returned a net that cannot be saved: "),
        (TRAINED.replace(options={"width": object()}), 10, "^mine returned a net that cannot be saved: "),
    ]:
        with pytest.raises(AttemptError, match=words) as caught:
            usable(returned, "mine", classes)
        assert "\n" not in str(caught.value)


def test_a_usable_net_is_the_one_that_is_read_back():
    again = usable(TRAINED, "mine", 10)
    assert again is not TRAINED
    assert all(again.state[name].data_ptr() != tensor.data_ptr() for name, tensor in TRAINED.state.items())


def test_a_net_that_is_another_one_when_saved_and_read_is_refused():
    class Padded(Net):
        """Written with blanks that no other net is written with."""

        def to_bytes(self) -> bytes:
            data = super().to_bytes()
            header = int.from_bytes(data[:8], "little")
            return (header + 8).to_bytes(8, "little") + data[8 : 8 + header] + b" " * 8 + data[8 + header :]

    net = Padded(TRAINED.builder, TRAINED.input_shape, options=TRAINED.options, state=TRAINED.state)
    with pytest.raises(AttemptError, match=r"^mine returned a net that is another one when saved and read$"):
        usable(net, "mine", 10)
