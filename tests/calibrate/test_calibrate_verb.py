"""The verb calibrate, and profile with a device: what a person reads, on a bench that answers at once."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest
from fake_bench import FakeBench, tiny_net

from joulemark.calibrate import held_out as judging
from joulemark.calibrate import timing as bench
from joulemark.cli.main import main
from joulemark.energy import fitting
from joulemark.energy.device import read_profile, write_profile


@pytest.fixture
def say(monkeypatch, capsys):
    """Run the command: exit code, standard output, standard error."""
    monkeypatch.setattr(bench, "MachineBench", lambda *_: FakeBench())
    monkeypatch.setattr(judging, "NETS", ("8",))
    monkeypatch.setattr(judging, "net_workload", tiny_net)
    monkeypatch.setattr(fitting, "FOLDS", 3)
    monkeypatch.setattr(fitting, "PENALTIES", 5)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["joulemark", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    return run


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
