"""Keys of inputs and traces of code: what is made again after a change, and what stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from tiny import tiny_splits, tiny_suite

from joulemark.benchmarking import session as session_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import Session
from joulemark.judging import trace
from joulemark.record import Attempt, Made, Trial, content_key
from joulemark.task import BASELINE

TECHNIQUES = ("small-dense", "int8", "magnitude")


def one_try(**changes):
    budget = msgspec.structs.replace(tiny_suite().budget, trained_attempts=1, scratch_attempts=1)
    return tiny_suite(budget=budget, techniques=TECHNIQUES, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Results of one run of all three, which each test copies."""
    folder = tmp_path_factory.mktemp("finished")
    splits = tiny_splits()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "load", lambda task: splits)
        run(Session.open(one_try(), folder, command="test"), chains_of(TECHNIQUES), lambda event: None)
    return folder


@pytest.fixture
def first(finished, open_session, tmp_path) -> Session:
    """A session on a copy of those results."""
    shutil.copytree(finished, tmp_path / "results")
    return open_session(one_try())


def by_technique(records) -> dict[str, list]:
    found: dict[str, list] = {}
    for record in records:
        found.setdefault(record.technique, []).append(record)
    return found


def test_every_key_is_a_digest_of_inputs_and_one_of_code(first):
    session = first
    records = [*session.store.all_made(), *session.store.attempts(), *session.store.trials()]
    assert {type(record) for record in records} == {Made, Attempt, Trial}
    for record in records:
        inputs, _, code = record.key.partition("-")
        assert len(inputs) == 16
        assert code == content_key(record.code)[:8]
        assert "joulemark.nets.builders.lenet" in record.code
        assert record.code["package torch"].startswith("torch ")
        assert session.store.find(type(record), inputs) == [record]
        assert session.current(type(record), inputs) == record
    quantised = [record for record in records if record.technique == "int8"]
    others = [record for record in records if record.technique != "int8"]
    assert all("joulemark.nets.layers.integer" in record.code for record in quantised)
    assert not any("joulemark.nets.layers.integer" in record.code for record in others)


@pytest.mark.parametrize(
    ("unit", "made", "measured"),
    [
        ("joulemark.techniques.pruning.magnitude", {"magnitude"}, {"magnitude"}),
        ("joulemark.nets.layers.integer", {"int8"}, {"int8"}),
        ("joulemark.benchmarking.workbench", {BASELINE, *TECHNIQUES}, {BASELINE, *TECHNIQUES}),  # it trains, too
        ("joulemark.training.loop", {BASELINE, *TECHNIQUES}, {BASELINE, *TECHNIQUES}),
        ("joulemark.benchmarking.measuring", set(), {BASELINE, *TECHNIQUES}),
        ("joulemark.techniques.pruning.two_four", set(), set()),
    ],
)
def test_a_change_repeats_what_used_it_and_nothing_else(first, open_session, heard, change, unit, made, measured):
    kept = {type(one): {r.key for r in all_of()} for one, all_of in (
        (first.store.all_made()[0], first.store.all_made), (first.store.attempts()[0], first.store.attempts),
        (first.store.trials()[0], first.store.trials))}  # fmt: skip
    change(unit)
    second = open_session(one_try())
    run(second, chains_of(TECHNIQUES), heard)
    new = {
        Made: [one for one in second.store.all_made() if one.key not in kept[Made]],
        Attempt: [one for one in second.store.attempts() if one.key not in kept[Attempt]],
        Trial: [one for one in second.store.trials() if one.key not in kept[Trial]],
    }
    assert {one.technique for one in new[Made]} == made
    # A net that was made again and is the same is judged again: its record names its making.
    assert {one.technique for one in new[Attempt]} == measured
    assert {one.technique for one in new[Trial]} >= measured
    for record in (*new[Made], *new[Attempt]):
        assert len(second.store.find(type(record), record.key.partition("-")[0])) >= 1
    study = second.store.study("tiny")
    attempts = [second.store.attempt(key) for keys in (study.baselines, *study.attempts.values()) for key in keys]
    assert not [unit for attempt in attempts for unit in trace.changed(attempt.code)]


def test_old_and_new_stand_side_by_side(first, open_session, heard, change):
    (old,) = by_technique(first.store.all_made())["int8"]
    change("joulemark.techniques.precision.int8")
    second = open_session(one_try())
    run(second, chains_of(["int8"]), heard)
    both = by_technique(second.store.all_made())["int8"]
    assert {one.key.partition("-")[0] for one in both} == {old.key.partition("-")[0]}
    assert len(both) == 2
    new = next(one for one in both if one.key != old.key)
    assert second.current(Made, new.key.partition("-")[0]) == new
    change()  # the old code is back: its record counts again
    assert open_session(one_try()).current(Made, new.key.partition("-")[0]) == old


def test_another_technique_keeps_the_rows_that_other_code_made(first, open_session, heard, change):
    before = first.store.study("tiny")
    change("joulemark.benchmarking.measuring", "joulemark.techniques.precision.int8")
    second = open_session(one_try())
    run(second, chains_of(["magnitude"]), heard)
    study = second.store.study("tiny")
    assert {name: study.attempts[name] for name in ("small-dense", "int8")} == {
        name: before.attempts[name] for name in ("small-dense", "int8")
    }
    assert study.attempts["magnitude"] != before.attempts["magnitude"]
    rows = {second.store.trial(key).technique for key in study.trials}
    assert rows == {BASELINE, "small-dense", "int8", "magnitude"}


def test_a_net_trained_anew_leaves_no_row_of_the_old_one(first, open_session, heard):
    study = first.store.study("tiny")
    other = msgspec.structs.replace(study, baselines=tuple(first.store.study("tiny").attempts["int8"]))
    first.store.put(other)  # as if the baseline had been another net
    second = open_session(one_try())
    run(second, chains_of(["magnitude"]), heard)
    assert set(second.store.study("tiny").attempts) == {"magnitude"}


def test_steps_of_other_code_are_not_taken_up(open_session, heard, change, tmp_path):
    file = tmp_path / "stops.py"
    file.write_text(
        "import joulemark\n\n"
        "@joulemark.technique('stops', paper='none', family='test')\n"
        "def stops(net, bench):\n"
        '    """Stops behind its first step."""\n'
        "    fitted = bench.fit(net, epochs=1)\n"
        "    raise KeyboardInterrupt\n"
    )
    for session in (open_session(one_try()), open_session(one_try())):
        with pytest.raises(KeyboardInterrupt):
            run(session, chains_of(["stops"], [file]), heard)
    assert len(session.store.names("steps")) == 1  # the same code goes on where it was
    change("joulemark.training.loop")
    with pytest.raises(KeyboardInterrupt):
        run(open_session(one_try()), chains_of(["stops"], [file]), heard)
    assert len(session.store.names("steps")) == 2
