"""The learned model by name: its profile lies where `joulemark calibrate` writes it, and only a usable one is taken."""

from __future__ import annotations

import msgspec
import pytest
from profiles import planted_profile, planted_times, write_usual

from joulemark.energy.device import own_profile, usual_path, write_profile
from joulemark.energy.model import Filled, energy_model, energy_model_names
from joulemark.explain.listing import models
from joulemark.machine.machine import this_machine


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_backends_profile_is_found_where_calibrate_writes_it():
    path = write_usual("onnxruntime", planted_times())
    assert path == usual_path("onnxruntime", this_machine().hardware_class)
    model = energy_model("learned:onnxruntime")
    assert (model.name, model.profile) == ("learned:onnxruntime", own_profile(path))


def test_a_path_names_a_profile_too():
    write_profile(usual_path("x", "y").with_name("mine.json"), planted_times())
    assert energy_model("calibration/mine.json").name == "calibration/mine.json"


def test_a_profile_that_is_missing_says_which_command_makes_it():
    with pytest.raises(
        ValueError,
        match=r"calibration/.*-onnxruntime\.json, which is not there: run `joulemark calibrate --backend onnx",
    ):
        energy_model("learned:onnxruntime")
    with pytest.raises(ValueError, match=r"none\.json: No such file .*; `joulemark calibrate` writes one"):
        energy_model("none.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fits": (), "planned": 500}, r"unfinished \(1 of 500 layers measured\): run the same `joulemark calibrate`"),
        (
            {"elsewhere": True},
            r"calibrated on arm-cortex-neon-4core, and this machine is .*: run `joulemark calibrate`",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_here_is_refused(changes, said):
    profile = planted_profile()
    if changes.pop("elsewhere", False):
        changes["machine"] = msgspec.structs.replace(profile.machine, hardware_class="arm-cortex-neon-4core")
    path = write_usual("eager", msgspec.structs.replace(profile, **changes))
    for name in ("learned:eager", str(path)):
        with pytest.raises(ValueError, match=said) as error:
            energy_model(name)
        assert "\n" not in str(error.value)


def test_a_profile_of_another_backend_is_refused():
    write_profile(usual_path("onnxruntime", this_machine().hardware_class), planted_times())  # says eager
    with pytest.raises(ValueError, match=r"calibrated on the backend eager: run `joulemark calibrate --backend onnx"):
        energy_model("learned:onnxruntime")


@pytest.mark.parametrize("name", ["learned", "learned:", "learned:onnx"])
def test_an_unknown_backend_offers_those_there_are(name):
    with pytest.raises(ValueError, match="Known: learned:cuda, learned:eager, learned:onnxruntime"):
        energy_model(name)


def test_its_content_is_the_seal():
    write_usual("eager", planted_times())
    one = energy_model("learned:eager")
    write_usual("eager", msgspec.structs.replace(planted_times(), seed=1))
    other = energy_model("learned:eager")
    assert isinstance(one, Filled)
    assert one.content != other.content


def test_it_is_listed_without_a_profile_and_is_no_installed_model():
    assert "learned" not in energy_model_names()
    (row,) = [row for row in models() if row["model"] == "learned"]
    assert row["variants"] == "eager, onnxruntime, cuda"
    assert "joulemark calibrate --backend" in row["sources"]
