"""Settings of studies: rows that may stand on one board, and committed studies that a run of today goes on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking import session as session_module
from joulemark.benchmarking.run import _Run
from joulemark.benchmarking.session import Session, StoredNet
from joulemark.benchmarking.stored_suites import suite_of_results
from joulemark.benchmarking.study_settings import filled_models, opened_models, study_settings

RESULTS = Path(__file__).parents[2] / "results"
STUDIES = sorted(RESULTS.glob("*/*/studies/*.json"))
PLACE = ("machine", [])


def test_techniques_are_no_settings_and_all_else_is():
    suite = tiny_suite()
    filled = filled_models(suite.models, opened_models(suite))
    own = study_settings(suite, filled, *PLACE)
    same = msgspec.structs.replace(suite, techniques=("int8",), free=not suite.free)
    assert study_settings(same, filled, *PLACE) == own
    others = [
        study_settings(msgspec.structs.replace(suite, threads=suite.threads + 1), filled, *PLACE),
        study_settings(msgspec.structs.replace(suite, limits_points=(9.0,)), filled, *PLACE),
        study_settings(suite, [(suite.models[0], "a file")], *PLACE),
        study_settings(suite, filled, "another machine", []),
        study_settings(suite, filled, "machine", [("rapl", "package-0")]),
    ]
    assert len({own, *others}) == 6


def test_a_model_is_filled_with_what_it_says_or_with_nothing():
    plain, filled = object(), type("Profile", (), {"content": "abc"})()
    assert filled_models(("plain", "learned"), [plain, filled]) == [("plain", None), ("learned", "abc")]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_run_of_today_goes_on_with_every_committed_study(path, tmp_path, monkeypatch):
    """The rows stay on their board, whatever code made them, when a technique is added to it."""
    suite = suite_of_results(path.stem, RESULTS)
    try:
        opened_models(suite)
    except ValueError as error:
        pytest.skip(f"it needs what is not committed: {error}")
    folder = path.parent.parent
    shutil.copytree(folder, tmp_path / folder.relative_to(RESULTS))
    machine = msgspec.structs.replace(session_module.this_machine(), hardware_class=folder.parent.name)
    monkeypatch.setattr(session_module, "this_machine", lambda: machine)
    session = Session.open(suite, tmp_path, command="test")
    committed = session.store.study(suite.name)
    run = _Run(session, (), lambda event: None)
    attempts = [session.store.attempt(key) for key in committed.baselines]
    run.baselines = {attempt.seed: (attempt, StoredNet(None, attempt.net)) for attempt in attempts}
    run._open_study()
    assert run.study.attempts == committed.attempts
    assert (run.study.trials, run.study.free) == (committed.trials, committed.free)
    assert run.study.trials
    session.close()
