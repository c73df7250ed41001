"""Nets never seen: what they execute, by the papers' own counts, and a batch of them as if it had been recorded."""

from __future__ import annotations

import msgspec
import pytest
import torch
from fake_bench import tiny_net
from hypothesis import given
from hypothesis import strategies as st

from joulemark.calibrate.held_out import ALONE_BATCH, BATCHES, NETS, at_batch, layers_of, net_workload
from joulemark.energy.features import Layer
from joulemark.nets.net import Net, builders, usual_input_shape
from joulemark.workloads.recording import record
from joulemark.workloads.workload import Workload

RESNET20 = 3 * 16 * 9 * 32**2 + 6 * 16 * 16 * 9 * 32**2 + 2 * (16 * 32 + 5 * 32 * 32) * 9 * 16**2 + 640
"""Multiply-accumulates by He et al.'s table: stages of 16, 32 and 64 channels; the last two cost the same."""


@pytest.mark.parametrize(("name", "macs"), [("lenet", 2_293_000), ("resnet20", RESNET20)])
def test_a_net_executes_what_its_paper_counts(name, macs):
    assert net_workload(name).macs_per_input == macs
    assert net_workload(name) is net_workload(name)  # recorded once


@pytest.mark.parametrize("name", ["lenet", "resnet20"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_is_as_if_it_had_been_recorded(name, batch):
    shape = usual_input_shape(name)
    recorded = record(Net.new(name, shape, seed=0).module(), torch.zeros(batch, *shape), batch_size=batch)
    made = at_batch(net_workload(name), batch)
    assert [(one.layer, one.rows, one.calls, one.macs) for one in made.operations] == [
        (one.layer, one.rows, one.calls, one.macs) for one in recorded.operations
    ]
    assert (made.inputs, made.batch_size) == (recorded.inputs, recorded.batch_size) == (batch, batch)
    assert list(layers_of(made)) == list(layers_of(recorded))


@given(st.integers(1, 64), st.integers(1, 64))
def test_of_a_batch_every_input_costs_the_same(filters, batch):
    one, many = tiny_net(str(filters)), at_batch(tiny_net(str(filters)), batch)
    assert many.macs_per_input == one.macs_per_input
    single, together = list(layers_of(one)), list(layers_of(many))
    assert [msgspec.structs.replace(layer, batch=1) for layer, _ in together] == [layer for layer, _ in single]
    assert {layer.batch for layer, _ in together} == {batch}
    assert sum(layer.macs for layer, _ in together) == batch * sum(layer.macs for layer, _ in single)


def test_a_batch_of_one_is_the_net_itself():
    assert at_batch(tiny_net("8"), 1) == tiny_net("8")


def test_layers_come_with_their_calls_and_rows_of_a_call():
    conv, relu = tiny_net("8").operations
    thrice = msgspec.structs.replace(conv, rows=7, calls=3)  # 2.33 rows a call
    never = msgspec.structs.replace(relu, rows=0, calls=0)
    odd = msgspec.structs.replace(conv, operator="conv_transpose", rows=1, calls=1)
    found = list(layers_of(Workload(inputs=1, batch_size=1, operations=(thrice, never, odd))))
    assert found == [
        (
            Layer(type="conv", batch=2, input=(16, 28, 28), output=(8, 28, 28), kernel=(3, 3), padding=(1, 1)),
            3,
        ),
        (Layer(type="relu", batch=1, input=(8, 28, 28), output=(8, 28, 28)), 0),
        (None, 1),
    ]


def test_a_net_that_does_nothing_has_no_layers():
    assert list(layers_of(Workload(inputs=1, batch_size=1, operations=()))) == []


def test_the_judged_nets_can_be_built_and_hold_the_papers_two():
    assert {"vgg16", "alexnet-torchvision"} < set(NETS) <= set(builders())
    assert all(usual_input_shape(name) for name in NETS)
    assert len(set(NETS)) == len(NETS)
    assert ALONE_BATCH in BATCHES


def test_a_net_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="did you mean 'lenet'"):
        net_workload("lenett")
