"""A calibration on a bench that answers at once: what it finds, and that nothing measured is lost or measured twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from fake_bench import PLANNED, FakeBench, run

from joulemark.calibrate.held_out import BATCHES
from joulemark.energy import fitting
from joulemark.energy.device import own_profile, read_profile
from joulemark.energy.learned import median_net_error

STEPS = PLANNED + 2 * len(BATCHES) + 4  # rows, two nets, their two layers each


@pytest.fixture(scope="module", autouse=True)
def quick_fits():
    """Few folds and penalties: times here have no noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "FOLDS", 3)
        patch.setattr(fitting, "PENALTIES", 10)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "profile.json"
    bench = FakeBench()
    return path, bench, run(path, bench)


def test_planted_times_are_predicted_on_nets_never_seen(finished):
    path, bench, profile = finished
    assert len(profile.rows) == PLANNED
    assert len(bench.measured) == STEPS
    assert {one.type for one in profile.fits} == {row.layer.type for row in profile.rows}
    assert median_net_error(profile) < 0.01
    assert own_profile(path) == read_profile(path)


def test_a_finished_one_measures_nothing_again(finished):
    path, _, profile = finished
    before = path.read_bytes()
    idle = FakeBench()
    again = run(path, idle)
    assert idle.measured == []
    assert again.fits == profile.fits
    assert path.read_bytes() == before


def test_killed_it_goes_on_and_loses_at_most_the_step_in_hand(finished, tmp_path):
    _, _, whole = finished
    path = tmp_path / "profile.json"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fake_bench import FakeBench, run; from pathlib import Path;"
        "run(Path(sys.argv[2]), FakeBench(die_at=int(sys.argv[3])))"
    )
    for killed_at in (5, PLANNED - 5 + 3):  # among the rows, then among the nets
        done = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(path), str(killed_at)], capture_output=True
        )
        assert done.returncode == -9, done.stderr
        kept = read_profile(path)
        assert len(kept.rows) + len(kept.nets) + len(kept.alone) >= killed_at
        with pytest.raises(ValueError, match="unfinished"):
            own_profile(path)
    rest = FakeBench()
    profile = run(path, rest)
    assert len(rest.measured) == STEPS - 5 - (PLANNED - 5 + 3)
    assert (profile.rows, profile.fits, profile.nets) == (whole.rows, whole.fits, whole.nets)


def test_a_call_stops_between_steps_when_its_time_is_over(tmp_path):
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0  # every look at the clock takes a second
        return now[0]

    path = tmp_path / "profile.json"
    bench = FakeBench()
    profile = run(path, bench, clock=clock)  # five minutes, less the reserve
    assert 100 < len(profile.rows) <= 260
    assert profile.fits == ()
    more = FakeBench()
    assert run(path, more).fits
    assert len(bench.measured) + len(more.measured) == STEPS


def test_progress_ends_at_the_whole(tmp_path):
    events = []
    run(tmp_path / "profile.json", FakeBench(), nets=(), listen=events.append)
    shares = [event.share for event in events if event.what == "going"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 0.99)
    assert (events[-1].what, events[-1].done, events[-1].steps) == ("finished", 1, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backend": "onnxruntime"}, "begun with backend eager, and this would be onnxruntime"),
        ({"threads": 2}, "begun with threads 1, and this would be 2"),
        ({"seed": 1}, "begun with seed 0"),
        ({"planned": 400}, "begun with planned 320"),
        ({"versions": {"torch": "1.0"}}, "begun with versions"),
    ],
)
def test_a_profile_begun_otherwise_is_not_mixed_up(finished, changes, sentence):
    path, _, _ = finished
    with pytest.raises(ValueError, match=sentence):
        run(path, FakeBench(), **changes)


def test_another_machines_profile_is_not_gone_on_with(finished, tmp_path):
    from joulemark.energy.device import write_profile

    profile = finished[2]
    machine = msgspec.structs.replace(profile.machine, hardware_class="other")
    write_profile(tmp_path / "p.json", msgspec.structs.replace(profile, machine=machine))
    with pytest.raises(ValueError, match="begun with machine other"):
        run(tmp_path / "p.json", FakeBench())


def test_with_a_counter_watts_are_fitted_and_joules_judged(tmp_path):
    profile = run(tmp_path / "p.json", FakeBench(watts=50.0), nets=("16",))
    assert profile.has_watts
    assert median_net_error(profile, "joules") < 0.02
    assert [row.layer.type for row in profile.alone] == ["conv", "relu"]


def test_without_one_no_joule_is_predicted(finished):
    profile = finished[2]
    assert not profile.has_watts
    assert all(one.joules is None and one.predicted_joules is None for one in profile.nets)
