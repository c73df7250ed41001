"""The verb calibrate, and profile with a device: what a person reads, on a bench that answers at once."""

from __future__ import annotations

import json

import msgspec
import pytest
from fake_bench import FakeBench, tiny_net

from joulemark.calibrate import held_out as judging
from joulemark.calibrate import timing as bench
from joulemark.energy import fitting
from joulemark.energy.device import read_profile, usual_path, write_profile
from joulemark.machine.machine import this_machine


@pytest.fixture
def say(monkeypatch, joulemark):
    """Run the command on a machine that answers at once: exit code, standard output, standard error."""
    monkeypatch.setattr(bench, "MachineBench", lambda *_: FakeBench())
    monkeypatch.setattr(judging, "NETS", ("8",))
    monkeypatch.setattr(judging, "net_workload", tiny_net)
    monkeypatch.setattr(fitting, "FOLDS", 3)
    monkeypatch.setattr(fitting, "PENALTIES", 5)
    return joulemark


def test_calibrate_then_profile(say, tmp_path):
    path = str(tmp_path / "device.json")
    code, said, _ = say("calibrate", "--rows", "320", "-o", path)
    assert code == 0
    for words in ("39.97 %", "held-out RMSPE", "Power is missing", "Nets never seen", "Control layer", path):
        assert words in said
    code, said, _ = say("profile", "lenet", "--inputs", "1", "--device", path)
    assert code == 0
    assert "s per input; seconds predicted for eager, modelled, not measured; nets never seen: 0.0% off" in said
    code, said, _ = say("calibrate", "--rows", "320", "-o", path, "--json")
    assert code == 0
    found = json.loads(said.splitlines()[-1])
    assert found["finished"]
    assert found["median_net_error"] < 0.01
    before = read_profile(tmp_path / "device.json")
    code, _, _ = say("calibrate", "--refit", "-o", path)
    assert (code, read_profile(tmp_path / "device.json")) == (0, before)


def test_a_profile_of_another_machine_is_one_sentence(say, tmp_path):
    path = tmp_path / "device.json"
    say("calibrate", "--rows", "320", "--no-judge", "-o", str(path))
    profile = read_profile(path)
    machine = msgspec.structs.replace(profile.machine, hardware_class="other-machine")
    write_profile(path, msgspec.structs.replace(profile, machine=machine))
    code, said, wrong = say("profile", "lenet", "--inputs", "1", "--device", str(path))
    assert (code, said) == (2, "")
    assert "was calibrated on other-machine, and this machine is" in wrong
    assert wrong.count("\n") == 1


def test_a_file_that_is_no_profile_is_one_sentence(say, tmp_path):
    path = tmp_path / "device.json"
    path.write_text("{}")
    for words in (("profile", "lenet", "--device", str(path)), ("calibrate", "-o", str(path))):
        code, said, wrong = say(*words)
        assert (code, said) == (2, "")
        assert "is no device profile" in wrong


def test_a_place_that_is_unknown_offers_the_nearest(say):
    code, _, wrong = say("calibrate", "--backend", "eagre")
    assert code == 2
    assert "did you mean 'eager'" in wrong


def test_it_writes_where_the_learned_model_looks(say, tmp_path):
    assert say("calibrate", "--rows", "320", "--no-judge")[0] == 0
    path = tmp_path / usual_path("eager", this_machine().hardware_class)
    assert path == tmp_path / f"calibration/{this_machine().hardware_class}-eager.json"
    assert read_profile(path).fits


def test_a_refit_measures_nothing_and_needs_a_profile(say, monkeypatch):
    monkeypatch.setattr(bench, "MachineBench", lambda *_: pytest.fail("this would measure"))
    code, said, wrong = say("calibrate", "--refit")
    assert (code, said) == (2, "")
    assert f"calibration/{this_machine().hardware_class}-eager.json: No such file" in wrong


def test_a_call_that_ran_out_of_time_says_what_is_left(say, tmp_path, monkeypatch):
    monkeypatch.setattr("joulemark.calibrate.calibrate.RESERVE_SECONDS", 60.0 - 1e-9)
    words = ("calibrate", "--rows", "320", "--minutes", "1", "-o", "d.json")
    code, said, _ = say(*words)
    assert code == 0
    (rows,) = {len(read_profile(tmp_path / "d.json").rows)}
    assert rows < 320
    assert f"{rows} of 320 layers and 0 runs of nets are measured and kept in d.json: the same command" in said
    assert "held-out RMSPE" not in said
    found = json.loads(say(*words, "--json")[1].splitlines()[-1])
    assert (found["finished"], found["fits"]) == (False, [])


def test_stopped_it_says_that_nothing_measured_is_lost(say, monkeypatch):
    def stop(self, layer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeBench, "layer", stop)
    code, _, wrong = say("calibrate", "-o", "d.json")
    assert code == 130
    assert wrong == "\njoulemark: stopped. What was measured is kept; the same command goes on from there.\n"


def test_threads_rows_and_seed_are_those_asked_for(say, tmp_path):
    say("calibrate", "--rows", "320", "--threads", "2", "--seed", "3", "--no-judge", "-o", "d.json")
    profile = read_profile(tmp_path / "d.json")
    assert (profile.threads, profile.seed, profile.planned, profile.backend) == (2, 3, 320, "eager")
    assert (profile.precision, profile.free, profile.nets) == ("fp32", (), ())
