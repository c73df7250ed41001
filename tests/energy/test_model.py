"""Energy models are found by name, ours and a third party's alike, and nothing is imported before it is asked for."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from joulemark import vocabulary
from joulemark.energy.accelerator import Accelerator
from joulemark.energy.model import EnergyModel, energy_model, energy_model_names
from joulemark.record import EnergyReport, Kind, Quantity
from joulemark.vocabulary import GROUPS, TABLES
from joulemark.workloads.workload import Workload


class Flat:
    """A third party's model: every input costs a joule."""

    name = "flat"
    sources = ("invented for this test",)

    def estimate(self, workload: Workload) -> EnergyReport:
        joules = Quantity(value=1.0, unit="J/input", kind=Kind.MODELLED, method="flat", scope="net", source="test")
        return EnergyReport(
            model=self.name, joules=joules, layers=(), coverage=1.0, assumptions=(), sources=self.sources
        )


@pytest.fixture
def installed(monkeypatch):
    """A function that installs entry points into the group."""

    def install(*points):
        entries = tuple(EntryPoint(name, value, GROUPS["energy model"]) for name, value in points)
        monkeypatch.setattr(
            vocabulary, "entry_points", lambda *, group: entries if group == GROUPS["energy model"] else ()
        )

    monkeypatch.setitem(sys.modules, "third_party", sys.modules[__name__])
    return install


def test_ours_is_a_model():
    assert isinstance(Accelerator(), EnergyModel)
    assert isinstance(energy_model("row-stationary"), Accelerator)


def test_every_model_of_ours_carries_the_name_it_is_found_by():
    for name in TABLES["energy model"]:
        assert energy_model(name).name == name


def test_a_third_partys_model_is_found(installed):
    installed(("flat", "third_party:Flat"))
    assert energy_model_names() == tuple(sorted({"flat", *TABLES["energy model"]}))
    report = energy_model("flat").estimate(Workload(inputs=1, batch_size=1, operations=()))
    assert report.joules.value == 1.0


def test_a_broken_model_is_listed_and_fails_only_when_asked_for(installed):
    installed(("broken", "no_such_module_anywhere:Model"))
    assert "broken" in energy_model_names()
    assert energy_model("row-stationary")
    with pytest.raises(ValueError, match=r"'broken' of an installed .* \(no_such_module_anywhere:Model\) cannot be"):
        energy_model("broken")


def test_an_unknown_name_offers_the_nearest(installed):
    installed(("flat", "third_party:Flat"))
    with pytest.raises(ValueError, match="did you mean 'row-stationary'"):
        energy_model("row_stationery")
    with pytest.raises(ValueError, match=r"Known: .*flat, .*row-stationary"):
        energy_model("zzzzz")


def test_two_models_of_one_name_are_refused(installed):
    installed(("flat", "third_party:Flat"), ("flat", "another:Flat"), ("row-stationary", "third_party:Flat"))
    with pytest.raises(ValueError, match="more than one installed package brings the energy model 'flat': another:"):
        energy_model("flat")
    assert isinstance(energy_model("row-stationary"), Accelerator)  # ours cannot be replaced


def test_what_is_no_model_is_refused(installed):
    installed(("dictionary", "builtins:dict"))
    with pytest.raises(ValueError, match="builtins:dict is not an energy model"):
        energy_model("dictionary")


def test_a_variant_is_asked_for_behind_a_colon():
    assert energy_model("datasheet:tesla-t4").name == "datasheet:tesla-t4"
    assert energy_model("datasheet:rtx-2080-ti").name == "datasheet"
    with pytest.raises(ValueError, match=r"unknown variant of the energy model 'datasheet' 'tesla-t5': did you mean"):
        energy_model("datasheet:tesla-t5")
    for name in ("microcontroller:x", "row-stationary:", "datasheet:"):
        with pytest.raises(ValueError, match="unknown variant of the energy model"):
            energy_model(name)


def test_names_cost_no_import_of_a_model_and_none_imports_torch():
    code = (
        "import sys; from joulemark.energy.model import energy_model, energy_model_names; energy_model_names();"
        "assert 'joulemark.energy.accelerator' not in sys.modules; energy_model('row-stationary');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
