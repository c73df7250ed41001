"""Models and proxies of a net as the suite asks for them, against what was recorded of the same images by hand."""

from __future__ import annotations

from importlib.resources import files

import msgspec
import pytest
import torch
from tiny import tiny_suite

from joulemark.benchmarking import modelling
from joulemark.benchmarking.modelling import modelled
from joulemark.energy.model import energy_model
from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.workloads.recording import record

LAYERS = ("stage1.conv", "stage2.conv", "classifier.hidden", "classifier.output")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Ten images instead of two hundred."""
    monkeypatch.setattr(modelling, "WORKLOAD_IMAGES", 10)


def lenet() -> Net:
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.1)


def with_an_exit(threshold: float) -> Net:
    """Rows leave behind the first stage where one class alone has more than the threshold."""
    exits = (Exit(after="stage1", router="exactly-one", threshold=threshold, features=288, classes=10),)
    blank = lenet().replace(route=Route(kind="exits", exits=exits), state={})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return blank.with_state(blank.module())


@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_model_of_the_suite_says_what_it_says_of_the_first_images(open_session, batch_size):
    names = ("systolic", "row-stationary")
    session = open_session(tiny_suite(models=names, batch_sizes=(batch_size, 64)))
    reports, _ = modelled(session, lenet())
    images = torch.from_numpy(session.splits["validation"].images[:10])
    work = record(lenet().module(), images, batch_size=batch_size)
    assert reports == tuple(energy_model(name).estimate(work) for name in names)


def test_a_model_from_a_file_is_called_by_its_path(open_session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (files("joulemark.energy") / "eyeriss.toml").read_text(encoding="utf-8")
    (tmp_path / "chip.toml").write_text(text.replace('name = "row-stationary"', 'name = "mine"'))
    reports, _ = modelled(open_session(tiny_suite(models=("chip.toml", "row-stationary"))), lenet())
    assert [one.model for one in reports] == ["chip.toml", "row-stationary"]
    assert reports[0].joules.value == reports[1].joules.value
    assert msgspec.structs.replace(reports[0], model="mine", joules=reports[1].joules, assumptions=(), sources=()) == (
        msgspec.structs.replace(reports[1], model="mine", assumptions=(), sources=())
    )


def test_proxies_count_the_net_and_what_it_executed(open_session):
    net = prune(lenet(), 0.5)
    _, known = modelled(open_session(), net)
    sizes = {name: tensor for name, tensor in net.state.items() if tensor.is_floating_point()}
    assert known["parameters"] == sum(tensor.numel() for tensor in sizes.values())
    masked = sum(int((~mask).sum()) for mask in net.masks.values())
    assert known["nonzero_parameters"] == known["parameters"] - masked
    first, second, hidden = 2, 5, 50  # a tenth of LeNet's 20, 50 and 500
    macs = first * 24 * 24 * 25 + second * 8 * 8 * 25 * first + second * 16 * hidden + hidden * 10
    assert known["macs"] == known["macs_per_input"] == macs
    assert known["weight_bytes"] == 4 * (first * 25 + second * first * 25 + second * 16 * hidden + hidden * 10)


def test_macs_are_those_of_an_input_that_leaves_nowhere(open_session):
    session = open_session()
    stay, some = (modelled(session, with_an_exit(threshold))[1] for threshold in (2.0, 0.7))
    assert some["macs"] == stay["macs"] == pytest.approx(stay["macs_per_input"])
    assert some["macs_per_input"] < stay["macs"]


def test_bits_of_a_quantised_net_reach_models_and_proxies(open_session):
    form = Format(weight_bits=8, activation_bits=8, low=-4.0, high=4.0)
    session, net = open_session(), lenet()
    whole, narrow = (modelled(session, one) for one in (net, net.replace(formats=dict.fromkeys(LAYERS, form))))
    assert narrow[1]["weight_bytes"] == whole[1]["weight_bytes"] / 4
    assert narrow[0][0].joules.value < whole[0][0].joules.value / 1.5
    assert narrow[1]["macs"] == whole[1]["macs"]


def test_only_the_first_images_count(open_session):
    session, net = open_session(), with_an_exit(0.7)
    before = modelled(session, net)
    images = session.splits["validation"].images
    images[10:] = 0.0
    assert modelled(session, net) == before
    images[:10] = 0.0
    assert modelled(session, net) != before
