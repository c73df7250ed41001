"""Where a net is measured, by what it needs and what each backend has."""

from __future__ import annotations

import msgspec
import pytest
import torch
from tiny import tiny_suite

from joulemark.backends.backend import backend
from joulemark.benchmarking.placing import home, scenarios
from joulemark.nets.header import Format
from joulemark.nets.net import Net

PLAIN = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
INT8 = PLAIN.replace(formats={"stage1.conv": Format(weight_bits=8, activation_bits=8, low=0.0, high=1.0)})
INT4 = PLAIN.replace(formats={"stage1.conv": Format(weight_bits=4, activation_bits=4, low=0.0, high=1.0)})
ZEROS = PLAIN.replace(
    masks={"stage1.conv.weight": torch.zeros_like(PLAIN.state["stage1.conv.weight"], dtype=torch.bool)}
)
NAMES = ("onnxruntime", "eager", "sparse")


@pytest.mark.parametrize(
    ("net", "at_home", "everywhere"),
    [
        (PLAIN, "onnxruntime", {"onnxruntime", "eager", "sparse"}),
        (INT8, "onnxruntime", {"onnxruntime"}),
        (INT4, "onnxruntime", {"onnxruntime"}),  # real nowhere: simulated on the first
        (ZEROS, "sparse", {"sparse", "onnxruntime"}),  # a dense kernel multiplies them: measured beside it
    ],
    ids=["plain", "int8", "int4", "zeros"],
)
def test_a_net_is_at_home_where_its_kernels_are(net, at_home, everywhere):
    backends = [backend(name) for name in NAMES]
    suite = tiny_suite(backends=NAMES, batch_sizes=(1, 8))
    assert home(backends, net).name == at_home
    found = scenarios(backends, suite, net)
    assert {one.name for one, _ in found} == everywhere
    assert {size for one, size in found if one.name == at_home} == {1, 8}
    fewer = scenarios(backends, msgspec.structs.replace(suite, home_only=(8,)), net)
    assert {one.name for one, size in fewer if size == 8} == {
        at_home,
        *(everywhere & {"onnxruntime"} if net is ZEROS else ()),
    }
