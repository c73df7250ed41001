"""What there is, row by row, against the files and tables that it is read from."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from types import SimpleNamespace

import pytest

from joulemark.explain import listing
from joulemark.meters import probe as probe_module
from joulemark.meters.nvml import NvmlPower
from joulemark.meters.source import Unavailable
from joulemark.vocabulary import TABLES


def by(rows, name):
    found = {row[name]: row for row in rows}
    assert len(found) == len(rows)
    return found


def shipped(folder):
    """The files of the package, parsed by somebody else."""
    files = [one for one in resources.files("joulemark").joinpath(folder).iterdir() if one.name.endswith(".toml")]
    return {one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8")) for one in files}


def test_every_technique_of_the_table_is_listed_in_order_with_its_paper_and_knob():
    rows = listing.techniques()
    names = [row["technique"] for row in rows]
    assert names == sorted(names)
    assert set(names) == set(TABLES["technique"])
    assert by(rows, "technique")["magnitude"]["knob"] == "sparsity"
    assert all(row["paper"] and row["what it does"] for row in rows)
    json.dumps(rows)


def test_every_suite_of_the_package_is_listed_with_its_techniques():
    rows = by(listing.suites(), "suite")
    files = shipped("suites")
    assert set(rows) == set(files)
    for name, row in rows.items():
        assert row["techniques"] == ", ".join(files[name]["techniques"])


def test_every_task_of_the_package_is_listed_with_the_suites_that_ask_it():
    rows, suites = by(listing.tasks(), "task"), shipped("suites")
    assert set(rows) == set(shipped("tasks"))
    assert rows["mnist"]["net"] == "lenet"
    asked = [name for row in rows.values() for name in filter(None, row["suites"].split(", "))]
    assert sorted(asked) == sorted(suites)  # each suite asks one task
    assert "quick" in rows["mnist-5k"]["suites"].split(", ")


def test_every_model_is_listed_with_its_variants_and_sources_and_the_learned_one_last():
    rows = listing.models()
    assert {row["model"] for row in rows} == {*TABLES["energy model"], "learned"}
    assert rows[-1]["model"] == "learned"
    assert all(row["sources"] for row in rows)
    known = by(rows, "model")
    assert "tesla-t4" in known["datasheet"]["variants"].split(", ")
    assert known["row-stationary"]["variants"] == ""


def test_a_backend_that_cannot_be_loaded_is_listed_with_why(monkeypatch):
    monkeypatch.setitem(TABLES["backend"], "odd", "joulemark.backends.nothing_here:Odd")
    rows = by(listing.backends(), "backend")
    assert set(rows) == set(TABLES["backend"])
    assert (rows["eager"]["status"], rows["eager"]["detail"].partition(", ")[2]) == ("available", "fp32")
    assert rows["odd"]["status"] == "unavailable: No module named 'joulemark.backends.nothing_here'"
    assert rows["odd"]["detail"] == ""


def test_every_net_is_listed_with_its_usual_input_and_its_parameters():
    rows = by(listing.nets(), "net")
    assert list(rows) == sorted(rows)
    assert rows["lenet"] == {"net": "lenet", "input": (1, 28, 28), "parameters": 431_080}  # Caffe's
    assert rows["resnet50"]["parameters"] == 25_557_032  # torchvision's
    assert all((row["input"] is None) == (row["parameters"] is None) for row in rows.values())


class Watts(NvmlPower):
    """A board's power that no driver is asked for."""

    def __init__(self, opened):
        self.name, self.path, self.scope = "nvml H100 average power", "wall/board-a", "accelerator board a"
        self.close = lambda: opened.remove(self.name)
        opened.append(self.name)


@pytest.fixture
def machine(monkeypatch):
    """A machine with two counters that are summed, one inside, one around and one beside them, and some sensors."""
    opened: list[str] = []

    def sensor(name, path):
        opened.append(name)
        known = {"update_seconds": 0.001, "gain_uncertainty": None, "citation": "someone 2018"}
        return SimpleNamespace(name=name, path=path, scope=path, close=lambda: opened.remove(name), **known)

    package, board = ("rapl package-0", "wall/platform/package-0"), ("nvml H100", "wall/board-a")
    counters = [package, ("core", "wall/platform/package-0/core"), ("psys", "wall/platform"), board, ("x", "wall/y")]
    grace = ("grace CPU", "wall/module-0")

    def probe():
        return [sensor(*package), sensor(*board), sensor(*grace)], []

    def probe_counters(*, nested):
        assert nested
        first, *rest = (sensor(*one) for one in counters)
        first.flags, rest[2].gain_uncertainty = ("energy_filtered",), 0.05
        return [first, *rest], [Unavailable("apple", "not a Mac", "buy one")]

    def probe_power():
        return [sensor(*grace), sensor("rail", "wall/module-0/cpu")], [Unavailable("ina3221", "no Jetson", "none")]

    monkeypatch.setattr(probe_module, "probe", probe)
    monkeypatch.setattr(probe_module, "probe_counters", probe_counters)
    monkeypatch.setattr(probe_module, "probe_power", probe_power)
    monkeypatch.setattr(probe_module, "probe_checks", lambda paths: [Watts(opened)])
    monkeypatch.setattr(probe_module, "absent", lambda: [Unavailable("wall", "no log", "write one")])
    return opened


def test_what_is_summed_is_available_and_all_else_says_why_it_is_never_added(machine):
    rows = by(listing.meters(), "meter")
    assert {name: row["status"] for name, row in rows.items()} == {
        "rapl package-0": "available", "core": "nested", "psys": "nested", "nvml H100": "available", "x": "nested",
        "grace CPU": "available", "rail": "nested", "nvml H100 average power": "cross-check",
        "apple": "unavailable", "ina3221": "unavailable", "wall": "unavailable",
    }  # fmt: skip
    told = {name: row["detail"].partition(",")[0] for name, row in rows.items()}
    assert told["core"] == "inside processor package-0"
    assert told["psys"] == "around processor package-0"
    assert told["x"] == "beside what is counted"
    assert told["rail"] == "in or around what is counted"
    assert all("never added" in row["detail"] for row in rows.values() if row["status"] in ("nested", "cross-check"))
    assert rows["grace CPU"]["detail"].endswith("; joules by sampling")
    assert (rows["apple"]["detail"], rows["apple"]["fix"]) == ("not a Mac", "buy one")


def test_how_far_a_scale_is_known_is_told_and_who_says_so_if_asked(machine):
    rows = by(listing.meters(), "meter")
    assert rows["rapl package-0"]["detail"] == (
        "wall/platform/package-0, refreshed every 0.001 s, scale unknown, blurred by the processor (SGX)"
    )
    assert rows["nvml H100"]["detail"].endswith("scale known to 5%")
    cited = by(listing.meters(cited=True), "meter")
    assert cited["nvml H100"]["detail"].endswith("scale known to 5% (someone 2018)")


def test_everything_that_was_opened_is_closed(machine):
    listing.meters()
    assert machine == []


def test_metrics_are_those_of_the_vocabulary_with_what_they_say():
    rows = {row["metric"]: row["what"] for row in listing.metrics()}
    assert rows["weighted-f1"] == "weighted F1"
    assert {"accuracy", "agreement", "top-5"} <= rows.keys()
