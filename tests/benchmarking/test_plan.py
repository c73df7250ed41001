"""The plan names every step that a run would take, and refuses what cannot be run."""

from __future__ import annotations

import re

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.plan import plan, refuse_unknown
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.suite_files import load_suite


def with_task(**changes):
    suite = tiny_suite()
    return msgspec.structs.replace(suite, task=msgspec.structs.replace(suite.task, **changes))


def test_the_plan_names_every_step(open_session):
    suite = tiny_suite(seeds=(0, 1))
    lines = plan(open_session(suite), chains_of(suite.techniques))
    assert sum("baseline" in line for line in lines) == 3
    assert lines[0] == "train the baseline, seed 0: 2 epochs"
    assert lines[-1].startswith("measure and test")


def test_the_plan_takes_what_comes_with_the_package(tmp_path):
    suite = load_suite("mnist")
    given = plan(Session.open(suite, tmp_path), chains_of([]))
    assert given[:3] == [f"take the baseline that comes with the package, seed {seed}" for seed in (0, 1, 2)]
    assert plan(Session.open(suite, tmp_path, fresh=True), [])[0] == "train the baseline, seed 0: 8 epochs"


def test_a_chain_is_planned_once_a_seed_with_its_attempts_and_epochs(open_session):
    budget = msgspec.structs.replace(
        tiny_suite().budget, trained_epochs=4, trained_attempts=3, scratch_epochs=6, scratch_attempts=2
    )
    suite = tiny_suite(seeds=(0, 3), budget=budget)
    names = ["small-dense", "magnitude+int8", "magnitude:sparsity=0.9"]
    lines = plan(open_session(suite), chains_of(names))
    found = [re.fullmatch(r"(.+), seed (\d): at most (\d) attempts? of (\d) epochs?", line) for line in lines]
    assert [one.groups() for one in found if one] == [
        (name, seed, attempts, epochs)
        for name, attempts, epochs in (
            ("small-dense", "2", "6"),  # trained from scratch
            ("magnitude+int8", "3", "4"),
            ("magnitude:sparsity=0.9", "1", "4"),  # nothing is left to search
        )
        for seed in "03"
    ]


def test_measuring_says_boards_seeds_blocks_batches_and_backends(open_session):
    suite = tiny_suite(
        seeds=(0, 1), limits_points=(1.0, 2.0), batch_sizes=(1, 64), backends=("eager", "onnxruntime"), techniques=()
    )
    one = plan(open_session(suite), [])[-1]
    assert one.endswith("boards, seeds 0, 1: 3 blocks each, batch 1, 64, on eager, onnxruntime")
    two_models = msgspec.structs.replace(suite, models=("row-stationary", "systolic"))
    more = plan(open_session(two_models), [])[-1]
    counts = [int(line.split(" boards")[0].split()[-1]) for line in (one, more)]
    assert counts[1] - counts[0] == 2  # one board more for each of the two limits
    assert counts[0] % 2 == 0


def test_what_costs_nothing_is_planned_where_the_suite_asks_for_it(open_session):
    lines = [plan(open_session(tiny_suite(free=free)), []) for free in (False, True)]
    assert lines[1][:-1] == lines[0]
    assert lines[1][-1].startswith("measure what costs nothing: ")


def test_nothing_is_made_or_read_for_a_plan(tmp_path, monkeypatch):
    monkeypatch.setattr("joulemark.benchmarking.session.load", lambda task: pytest.fail("the images were read"))
    session = Session.open(tiny_suite(), tmp_path)
    plan(session, chains_of(["small-dense"]))
    assert list(tmp_path.rglob("*.json")) == []


def test_a_chain_beyond_the_budget_is_refused(open_session):
    budget = msgspec.structs.replace(
        tiny_suite().budget, trained_epochs=1, trained_attempts=2, scratch_epochs=2, scratch_attempts=1
    )
    chains = chains_of(["magnitude+conditional-deep-learning+int8"])
    with pytest.raises(ValueError, match="a budget of 1 epochs is too small for 2 techniques that train"):
        plan(open_session(tiny_suite(budget=budget)), chains)


RECIPE = tiny_suite().task.recipe


@pytest.mark.parametrize(
    ("suite", "sentence"),
    [
        (with_task(data="mnist5"), r"^task tiny: unknown data set 'mnist5': did you mean 'mnist5k'\?"),
        (
            with_task(recipe=msgspec.structs.replace(RECIPE, builder="lenett")),
            r"^task tiny: unknown builder 'lenett': did you mean 'lenet'\?",
        ),
        (tiny_suite(threads=4097), r"^the suite asks for 4097 threads, and there are \d+ cores here: ask for fewer$"),
        (tiny_suite(backends=("eagre",)), "^unknown backend 'eagre': did you mean 'eager'"),
        (
            tiny_suite(models=("row-stationery",)),
            "unknown energy model 'row-stationery': did you mean 'row-stationary'",
        ),
    ],
)
def test_what_is_not_there_is_named_before_anything_is_done(open_session, suite, sentence):
    for refuses in (refuse_unknown, lambda session: plan(session, [])):
        with pytest.raises(ValueError, match=sentence):
            refuses(open_session(suite))


def test_as_many_threads_as_there_are_cores_are_no_question(open_session):
    session = open_session()
    refuse_unknown(open_session(tiny_suite(threads=session.machine.cores)))


@pytest.mark.parametrize("name", ["quick", "mnist", "cifar10"])
def test_shipped_suites_can_be_planned(tmp_path, name):
    suite = msgspec.structs.replace(load_suite(name), threads=1)
    lines = plan(Session.open(suite, tmp_path), chains_of(suite.techniques))
    assert len(lines) == len(suite.seeds) * (1 + len(suite.techniques)) + 1 + suite.free
