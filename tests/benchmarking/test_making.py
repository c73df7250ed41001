"""Making a net: a workbench for each link of a chain, kills at each fit, notes, and what all of it cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_suite

from joulemark.benchmarking import workbench as workbench_module
from joulemark.benchmarking.applying import usable
from joulemark.benchmarking.chains import chain_name, chains_of, searched_in
from joulemark.benchmarking.errors import AttemptError
from joulemark.benchmarking.making import make_net
from joulemark.nets.net import Net
from joulemark.record import Made
from joulemark.store import Store
from joulemark.techniques.technique import TechniqueError

HEADER = """
import torch
import joulemark
from joulemark.nets.net import Net
"""


def technique_file(folder: Path, name: str, body: str, **words) -> Path:
    path = folder / f"{name}.py"
    said = "".join(f", {word}={value!r}" for word, value in words.items())
    path.write_text(
        f'{HEADER}\n@joulemark.technique("{name}", paper="none", family="test"{said})\n'
        f'def run(net, bench, *, strength: float = 1.0):\n    """Do it."""\n{body}\n'
    )
    return path


@pytest.fixture
def made(open_session):
    """Makes a net by a chain in a session of its own, as a process of its own would."""

    def make(names: str, files=(), key: str = "key", suite=None, knobs=None) -> tuple[Made, Store]:
        session = open_session(suite)
        try:
            (chain,) = chains_of([names], list(files))
            key_of_start = f"start-{session.suite.task.recipe.epochs}"
            start = make_net(session, key_of_start, (), (), 0, None)
            given = knobs if knobs is not None else [{} for _ in chain]
            return make_net(session, key, chain, given, 0, session.net(start.net)), session.store
        finally:
            session.close()

    return make


def test_every_link_has_its_own_epochs_notes_and_shared_steps(made, tmp_path):
    body = """
    bench.note(f"seen by {id(bench)}", [bench.epochs, bench.search_epochs, sorted(bench.notes), bench.shared])
    return bench.fit(net, epochs=bench.epochs)"""
    files = [technique_file(tmp_path, name, body) for name in ("one", "two", "three")]
    suite = tiny_suite()
    budget = type(suite.budget)(trained_epochs=7, trained_attempts=2, scratch_epochs=14, scratch_attempts=1)
    record, _ = made("one+two+three", files, suite=tiny_suite(budget=budget))
    seen = list(record.notes.values())
    assert len(seen) == 3  # three workbenches
    assert [one[0] for one in seen] == [2, 2, 3]
    assert all(one[1:3] == [0, []] for one in seen)
    assert len({one[3] for one in seen}) == 3
    assert record.making.image_passes == 7 * 300


def test_a_link_cannot_spend_what_another_left(made, tmp_path):
    saves = technique_file(tmp_path, "saves", "    return net")
    greedy = technique_file(tmp_path, "greedy", "    return bench.fit(net, epochs=2)")
    with pytest.raises(AttemptError, match="greedy raised BudgetError: the budget is 1 epochs of training an attempt"):
        made("saves+greedy", [saves, greedy])


def test_a_technique_that_stands_three_times_keeps_all_its_notes(made, tmp_path):
    body = "    bench.note('strength', strength)\n    return net"
    file = technique_file(tmp_path, "tells", body, trains=False)
    other = technique_file(tmp_path, "other", "    bench.note('mine', 4)\n    return net", trains=False)
    record, _ = made("tells+tells+other+tells", [file, other])
    assert record.notes == {"strength": 1.0, "tells.strength": 1.0, "mine": 4, "tells.4.strength": 1.0}
    record, _ = made("tells:strength=1+tells:strength=2+tells:strength=3", [file], key="fixed")
    assert list(record.notes.values()) == [1, 2, 3]
    assert list(record.notes)[:2] == ["strength", "tells:strength=2.strength"]
    record, _ = made("tells", [file], key="alone")
    assert record.notes == {"strength": 1.0}


FITS = """
    net = bench.remember("first", lambda: bench.fit(net, epochs=bench.epochs / 2))
    bench.note("epochs", bench.epochs)
    return bench.fit(net, epochs=bench.epochs / 2)"""


def killing(monkeypatch, after: int) -> list[int]:
    """Let so many fits finish, and kill the next within its run."""
    real, finished = workbench_module.fit, [0]

    def fit(*given, **named):
        if finished[0] == after:
            named["after_step"] = lambda step: (_ for _ in ()).throw(KeyboardInterrupt)
        fitted = real(*given, **named)
        finished[0] += 1
        return fitted

    monkeypatch.setattr(workbench_module, "fit", fit)
    return finished


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_killed_at_any_fit_of_a_chain_it_makes_the_same_net_at_the_same_cost(made, tmp_path, monkeypatch, after):
    files = [technique_file(tmp_path, name, FITS) for name in ("one", "two")]
    whole, _ = made("one+two", files, key="whole")
    with monkeypatch.context() as patch:
        finished = killing(patch, after)
        if after < 4:
            with pytest.raises(KeyboardInterrupt):
                made("one+two", files, key="killed")
        else:
            made("one+two", files, key="killed")  # nothing is left to kill
        assert finished == [after]
    with monkeypatch.context() as patch:
        finished = killing(patch, 99)
        again, store = made("one+two", files, key="killed")
    assert finished == [4 - after]  # what was finished did not run again
    assert again.net == whole.net
    assert again.making.image_passes == whole.making.image_passes == 600
    if after < 4:
        assert again.notes == {**whole.notes, "interrupted": True}
        assert again.making.joules.value is None
    assert not store.exists("steps/killed/began")


def test_what_is_stored_is_not_made_again(made, tmp_path):
    file = technique_file(tmp_path, "once", "    return bench.fit(net, epochs=1)")
    first, _ = made("once", [file])
    second, _ = made("once", [file])
    assert second == first  # its seconds and its date, too


def test_the_seconds_of_a_killed_process_are_in_the_cost(made, tmp_path):
    body = """
    import pathlib, time
    def slow():
        time.sleep(0.3)
        return 1
    bench.remember("slow", slow)
    marker = pathlib.Path(__file__).with_suffix(".ran")
    if not marker.exists():
        marker.touch()
        raise KeyboardInterrupt
    return net"""
    file = technique_file(tmp_path, "sleeps", body)
    with pytest.raises(KeyboardInterrupt):
        made("sleeps", [file])
    record, _ = made("sleeps", [file])
    assert 0.3 <= record.making.seconds < 0.6 + 5.0
    assert record.notes == {"interrupted": True}


SEARCH = """
    with bench.search():
        tried = [bench.fit(net, epochs=1.5) for _ in range(2)]
    return bench.fit(tried[0], epochs=bench.epochs)"""


def test_a_declared_search_is_noted_beside_the_budget_and_its_control_may_spend_as_much(made, tmp_path):
    file = technique_file(tmp_path, "searches", SEARCH, search_epochs=3)
    record, _ = made("searches", [file])
    assert record.notes == {"search": {"epochs": 3, "image_passes": 900}}
    assert record.making.image_passes == 900 + 2 * 300
    control, _ = made("random-pruning:search_epochs=3", key="control")
    assert control.technique == "random-pruning:search_epochs=3"
    assert control.making.image_passes == record.making.image_passes
    plain, _ = made("random-pruning", key="plain")
    assert plain.making.image_passes == 2 * 300


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "magnitude:search_epochs=3",
            "^magnitude does not search: search_epochs are for a technique that",
        ),
        ("small-dense:search_epochs=1.5", "^small-dense: search_epochs must be a whole number of at least 0, got 1.5$"),
        ("small-dense:search_epochs=-1", "^small-dense: search_epochs must be a whole number of at least 0, got -1$"),
    ],
)
def test_a_search_budget_that_makes_no_sense_is_refused(name, sentence):
    with pytest.raises(TechniqueError, match=sentence):
        chains_of([name])


def test_the_control_of_a_search_is_still_searched_by_its_knob():
    (chain,) = chains_of(["small-dense:search_epochs=12"])
    assert searched_in(chain).knob == "width"
    assert chain_name(chain) == "small-dense:search_epochs=12"
    assert chain[0].granted(9) == (21, 0)


def test_knobs_reach_the_technique_that_they_name(made, tmp_path):
    files = [
        technique_file(tmp_path, name, f"    bench.note('{name}', strength)\n    return net", trains=False)
        for name in ("left", "right")
    ]
    record, _ = made("left+right", files, knobs=[{"strength": 2.0}, {"strength": 3.0}])
    assert record.notes == {"left": 2.0, "right": 3.0}
    record, _ = made("left", files, key="alone", knobs=[{"strength": 4.0}])
    assert record.notes == {"left": 4.0}


def test_the_baseline_is_the_recipe_by_hand(open_session):
    """The same net from the same images by the loop alone."""
    from joulemark.training import fit, sgd

    session = open_session()
    record = make_net(session, "base", (), (), 0, None)
    recipe, train = session.suite.task.recipe, session.splits["train"]
    net = Net.new(recipe.builder, session.suite.task.input_shape, seed=0, **recipe.options)
    module = net.module()
    torch.set_num_threads(session.machine.cores)
    fit(module, torch.from_numpy(train.images), torch.from_numpy(train.labels), epochs=recipe.epochs, seed=0,
        batch_size=recipe.batch_size, optimiser=sgd(recipe.learning_rate, momentum=recipe.momentum,
                                                    weight_decay=recipe.weight_decay))  # fmt: skip
    assert record.net == net.with_state(module).hash
    assert record.making.image_passes == 2 * 300
    session.close()


def test_what_is_no_usable_net_is_said_in_one_sentence():
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    assert usable(net, "mine", 10).hash == net.hash
    for returned, classes, words in [
        (None, 10, "mine returned NoneType, not a Net"),
        (net, 7, r"outputs of shape \(2, 10\), not \(2, 7\)"),
        (net.replace(options={"width": "wide"}), 10, "mine returned a net that does not run"),
        (net.replace(state={"x": np.zeros(1)}), 10, "mine returned a net that cannot be saved"),
    ]:
        with pytest.raises(AttemptError, match=words):
            usable(returned, "mine", classes)
