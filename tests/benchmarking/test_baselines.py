"""Published baselines are used, checked and can be passed over."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking import baselines
from joulemark.benchmarking.attempt import attempt_inputs
from joulemark.benchmarking.baselines import folder_name, publish, publish_trained, published
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.making import made_inputs, make_net
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import Session
from joulemark.meters.meters import Meters
from joulemark.nets.net import Net
from joulemark.record import Made
from joulemark.store import sealed


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package's folder, empty."""
    monkeypatch.setattr(baselines, "files", lambda name: tmp_path / name)
    return tmp_path / "joulemark" / "baselines"


@pytest.fixture
def trained(open_session):
    """A session and the record of its baseline."""
    session = open_session()
    return session, make_net(session, made_inputs(session, (), (), 0, None), (), (), 0, None)


def test_what_is_published_is_read_again(trained, package):
    session, made = trained
    task = session.suite.task
    assert published(task, 0) is None
    publish(made, session.net(made.net).net, task, package)
    again, net = published(task, 0)
    assert (again, net.hash) == (made, made.net)
    assert published(task, 1) is None
    assert published(msgspec.structs.replace(task, split_seed=5), 0) is None


def test_a_run_takes_the_published_baseline_and_fresh_trains_its_own(trained, package, tmp_path, heard):
    session, made = trained
    publish(made, session.net(made.net).net, session.suite.task, package)
    elsewhere = Session.open(tiny_suite(), tmp_path / "elsewhere", command="test")
    elsewhere.__dict__["splits"] = session.splits
    run(elsewhere, chains_of(["baseline"]), heard)
    kept = elsewhere.store.made(made.key)
    assert kept == made  # with what it cost, and the machine and command that made it
    assert [attempt.net for attempt in elsewhere.store.attempts()] == [made.net]
    assert {trial.technique for trial in elsewhere.store.trials()} == {"baseline"}

    fresh = Session.open(tiny_suite(), tmp_path / "fresh", command="test", fresh=True)
    fresh.__dict__["splits"] = session.splits
    run(fresh, chains_of(["baseline"]), heard)
    own = fresh.current(Made, made_inputs(fresh, (), (), 0, None))
    assert own.provenance.started > made.provenance.started
    assert own.net == made.net  # deterministic


@pytest.mark.parametrize("spoil", ["json", "edited", "no seal", "technique", "net", "no net", "other net"])
def test_a_published_baseline_that_is_not_one_is_refused(trained, package, spoil):
    session, made = trained
    task = session.suite.task
    stated = publish(made, session.net(made.net).net, task, package)
    saved = stated.parent / f"{made.net}.safetensors"
    if spoil == "json":
        stated.write_text("{}")
    elif spoil == "edited":
        stated.write_text(stated.read_text().replace('"seed": 0', '"seed": 1'))
    elif spoil == "no seal":
        content = json.loads(stated.read_text())
        del content["seal"]
        stated.write_text(json.dumps(content))
    elif spoil == "technique":
        stated.write_bytes(sealed(msgspec.structs.replace(made, technique="int8")))
    elif spoil == "net":
        saved.write_bytes(b"no net")
    elif spoil == "no net":
        saved.unlink()
    else:
        saved.write_bytes(Net.new("lenet", (1, 28, 28), seed=3, width=0.3).to_bytes())
    with pytest.raises(ValueError, match=rf"the published baseline {made.key}.json of tiny is broken: "):
        published(task, 0)


def test_of_several_baselines_in_a_store_the_last_is_published(trained, package):
    session, made = trained
    later = msgspec.structs.replace(made.provenance, started="2999-01-01T00:00:00+00:00")
    session.store.put(msgspec.structs.replace(made, key="later", provenance=later))
    session.store.put(msgspec.structs.replace(made, key="other", technique="int8"))
    session.store.put(msgspec.structs.replace(made, key="seed1", seed=1))  # none of the suite's seeds
    assert [path.stem for path in publish_trained(session, package)] == ["later"]


def test_publishing_again_replaces_the_seed_and_no_other(trained, package):
    session, made = trained
    task, net = session.suite.task, session.net(made.net).net
    publish(msgspec.structs.replace(made, seed=1, key="k1"), net, task, package)
    publish(made, net, task, package)
    publish(msgspec.structs.replace(made, key="k2"), net, task, package)
    assert [published(task, seed)[0].key for seed in (0, 1)] == ["k2", "k1"]
    assert len(list((package / folder_name(task)).glob("*.json"))) == 2


def test_a_net_is_not_made_again_when_only_its_judging_changes(open_session, heard, monkeypatch, change):
    session = open_session()
    run(session, chains_of(["small-dense"]), heard)
    before = {path.key: path.net for path in session.store.attempts()}
    again = open_session()
    change("joulemark.benchmarking.attempt")
    monkeypatch.setattr("joulemark.benchmarking.making.applied", None)  # would raise
    heard.events.clear()
    run(again, chains_of(["small-dense"]), heard)
    after = {path.key: path.net for path in again.store.attempts()}
    assert heard.titles("finished")
    assert set(after) > set(before)
    assert set(after.values()) == set(before.values())


def test_another_counter_measures_everything_again(open_session):
    without, with_one = open_session(), open_session()
    with_one.__dict__["meters"] = Meters([SimpleNamespace(name="rapl package-0", scope="package 0")], [])
    assert attempt_inputs(without, "made") == attempt_inputs(open_session(), "made")
    assert attempt_inputs(without, "made") != attempt_inputs(with_one, "made")
    assert made_inputs(without, (), (), 0, None) == made_inputs(
        with_one, (), (), 0, None
    )  # no net is made again for it


def test_a_composition_pays_for_what_it_shares_with_nobody(open_session, heard, tmp_path):
    first = tmp_path / "first.py"
    first.write_text(
        "import joulemark\n\n"
        "@joulemark.technique('first', paper='none', family='test')\n"
        "def first(net, bench):\n"
        '    """Trains a shared part."""\n'
        "    return bench.remember('part', lambda: bench.fit(net, epochs=1), shared=True)\n"
    )
    session = open_session()
    run(session, chains_of(["first", "first+int8"], [first]), heard)
    passes = {one.technique: one.making.image_passes for one in session.store.all_made()}
    assert passes["first+int8"] >= passes["first"] == len(session.splits["train"].labels)
