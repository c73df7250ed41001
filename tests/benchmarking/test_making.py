"""Making a net: kills at each fit, what is stored, and what all of it cost."""

from __future__ import annotations

import pytest
from tiny import technique_file

from joulemark.benchmarking import workbench as workbench_module
from joulemark.benchmarking.chains import chain_name, chains_of, searched_in
from joulemark.benchmarking.making import make_net
from joulemark.record import Made
from joulemark.store import Store
from joulemark.techniques.technique import TechniqueError


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
