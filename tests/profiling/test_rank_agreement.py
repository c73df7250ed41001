"""How figures order nets, against an order by hand."""

import itertools

import pytest

from joulemark.energy.model import energy_model
from joulemark.energy.sensitivity import TABLES, survival
from joulemark.judging.statistics import kendall_tau
from joulemark.profiling.rank_agreement import FIGURES, NETS, agree, as_renderables
from joulemark.record import EnergyReport, Kind, Quantity


class Backwards:
    """A model that finds small nets dear, and knows nothing of one of them."""

    name = "backwards"
    sources = ("invented for this test",)

    def estimate(self, workload):
        macs = workload.macs_per_input
        value = None if macs == 2_293_000 else 1 / macs
        joules = Quantity(
            value=value, unit="J/input", kind=Kind.MODELLED, method="m", scope="s", source="t",
            reason=None if value else "lenet",
        )  # fmt: skip
        return EnergyReport(
            model=self.name, joules=joules, layers=(), coverage=1.0, assumptions=(), sources=self.sources
        )


NAMES = ("lenet", "convnet", "alexnet", "resnet20")


@pytest.fixture(scope="module")
def found():
    heard = []
    result = agree(NAMES, [energy_model("datasheet"), energy_model("row-stationary"), Backwards()], tell=heard.append)
    assert tuple(heard) == NAMES
    return result


def pair(found, first, second):
    return next(one for one in found.pairs if {one.first, one.second} == {first, second})


def test_every_pair_of_figures_is_there(found):
    figures = (*FIGURES, "datasheet", "row-stationary", "backwards")
    assert tuple(found.values) == figures
    assert len(found.pairs) == len(list(itertools.combinations(figures, 2)))
    assert found.kinds["parameters"] == "proxy"
    assert found.kinds["datasheet"] == "modelled"


def test_a_data_sheet_orders_as_macs_do(found):
    one = pair(found, "macs_per_input", "datasheet")
    assert (one.tau, one.reversed, one.nets) == (1.0, (), 4)


def test_figures_of_one_order_are_one_group(found):
    together = next(group for group in found.groups if "datasheet" in group)
    assert together[:2] == ("macs_per_input", "datasheet")
    assert ("backwards",) in found.groups  # it does not know every net
    assert sorted(figure for group in found.groups for figure in group) == sorted(found.values)


def test_opposite_orders_and_nets_that_a_model_does_not_know(found):
    one = pair(found, "macs_per_input", "backwards")
    assert (one.tau, one.nets) == (-1.0, 3)  # lenet is left out
    assert len(one.reversed) == 3
    assert found.values["backwards"]["lenet"] is None


def test_reversed_pairs_are_named_the_cheaper_of_the_first_figure_first(found):
    one = pair(found, "parameters", "macs_per_input")
    # parameters: lenet 431,080, convnet 89,706, alexnet 544,426, resnet20 272,474
    # MACs:       lenet 2.29 M,  convnet 12.3 M, alexnet 28.2 M,  resnet20 40.6 M or so
    assert set(one.reversed) == {("convnet", "lenet"), ("resnet20", "lenet"), ("resnet20", "alexnet")}
    assert one.tau == pytest.approx((6 - 2 * 3) / 6)
    both = [[found.values[figure][name] for name in NAMES] for figure in (one.first, one.second)]
    assert one.tau == kendall_tau(*both)


@pytest.mark.parametrize("names", [["lenet"], [], ["lenet", "lenet"]])
def test_an_order_needs_two_nets(names):
    with pytest.raises(ValueError, match="two nets or more, each once"):
        agree(names, [])


def test_the_usual_nets_are_there():
    from joulemark.nets.net import builders

    assert set(NETS) <= set(builders())


def test_whether_the_accelerators_order_survives_its_cost_tables_is_told_where_all_were_asked(found):
    assert found.survival is None
    every = agree(("lenet", "convnet"), [energy_model(name) for name in TABLES])
    assert every.survival == survival(every.values)
    assert every.survival.order == ("convnet", "lenet")
    shown = [str(part) for part in as_renderables(every)]
    assert f"Cost tables of the accelerator: {every.survival.sentence()}" in shown
    assert not any("Cost tables" in str(part) for part in as_renderables(found))
