"""The check of an exported file: it passes what the net computes and refuses another net's file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import NETS, SHAPE

from joulemark.backends.exported import check
from joulemark.backends.exporting import to_onnx, to_pt2

WRITERS = {"onnx": to_onnx, "pt2": to_pt2}
IMAGES = np.random.default_rng(1).standard_normal((64, *SHAPE), dtype=np.float32)


pytestmark = pytest.mark.usefixtures("threads_given_back")


@pytest.fixture(scope="module")
def files():
    return {(kind, name): write(NETS[name]) for kind, write in WRITERS.items() for name in ("quantised", "dynamic")}


@pytest.mark.parametrize(("kind", "name", "most"), [
    ("onnx", "quantised", 0.02), ("pt2", "quantised", 1e-6), ("onnx", "dynamic", 1e-5), ("pt2", "dynamic", 1e-5),
])  # fmt: skip
def test_what_was_made_passes(files, kind, name, most):
    assert 0 <= check(files[kind, name], kind, NETS[name], IMAGES) < most


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("name", ["quantised", "dynamic"])
def test_a_file_of_other_weights_is_refused(files, kind, name):
    net = NETS[name]
    weights = net.state["stage1.conv.weight"]
    other = net.replace(state={**net.state, "stage1.conv.weight": weights * 1.05})
    with pytest.raises(ValueError, match="computes another net"):
        check(files[kind, name], kind, other, IMAGES)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_of_another_threshold_is_refused(files, kind):
    net = NETS["dynamic"]
    exits = tuple(type(one)(after=one.after, router=one.router, threshold=9.0, features=one.features,
                            classes=one.classes) for one in net.route.exits)  # fmt: skip
    other = net.replace(route=type(net.route)(kind="exits", exits=exits))
    with pytest.raises(ValueError, match="rows leave by another exit"):
        check(files[kind, "dynamic"], kind, other, IMAGES)


def test_a_pt2_file_has_no_excuse_of_rounding(files):
    """A net without formats is as far from it as rounding goes, which ONNX Runtime may be and this may not."""
    plain = NETS["quantised"].replace(formats={})
    with pytest.raises(ValueError, match="computes another net"):
        check(to_pt2(plain), "pt2", NETS["quantised"], IMAGES)


def test_outputs_that_are_not_finite_are_refused(files):
    net = NETS["dynamic"]
    bias = torch.full_like(net.state["stage1.conv.bias"], float("nan"))
    broken = net.replace(state={**net.state, "stage1.conv.bias": bias})
    with pytest.raises(ValueError, match="not finite"):
        check(files["onnx", "dynamic"], "onnx", broken, IMAGES)
