"""`joulemark.audit` of what a session holds: modules, nets and inputs in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.notebook.audit import ShownAudit, audit

SHAPE = (3, 8, 8)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))


@pytest.fixture(scope="module")
def audited() -> ShownAudit:
    return audit(plain(), np.ones((5, *SHAPE)), minutes=0.1)


def test_a_module_and_inputs_in_memory_are_audited(audited):
    assert audited.workload.macs_per_input == 8 * 36 * 27 + 288 * 5  # by hand
    assert (audited.net, audited.images, audited.input_shape, audited.random) == ("Sequential", 5, SHAPE, False)
    assert audited.inputs == "given by the caller, as they are"
    assert any(one.ratio is not None for one in audited.tried)


def test_it_prints_as_the_command_and_claims_no_saving(audited):
    text = repr(audited)
    assert text.startswith("Sequential: 9,216 MACs per input; 5 inputs of 3x8x8 (given by the caller, as they are)")
    assert audited.advice.split(". ")[0][:60] in " ".join(text.split())
    assert "saves energy" not in text + audited._repr_html_()
    assert audited._repr_html_().startswith("<iframe sandbox srcdoc=")


@pytest.mark.parametrize(
    ("subject", "options", "why"),
    [
        ("lenet", {}, "neither an .onnx file nor a function"),
        (plain(), {}, "needs the shape of one input"),
        (plain(), {"shape": (1, 8, 8)}, "does not run on inputs of shape"),
        (plain(), {"images": "no/folder", "shape": SHAPE}, "there is no folder of images"),
        (plain(), {"images": np.ones((1, 3, 8, 8)), "shape": (3, 9, 9)}, "the net takes"),
        (plain(), {"minutes": 0, "shape": SHAPE}, "minutes=0: give 0.1 to 600"),
        (plain(), {"minutes": "5", "shape": SHAPE}, "minutes='5'"),
        (Net.new("lenet", (1, 28, 28), seed=0), {"shape": SHAPE}, "does not fit the net"),
        (
            Net.new("lenet", (1, 28, 28), seed=0).replace(formats={"stage1.conv": Format(kind="int")}),
            {},
            "a net with a route or number formats is not audited",
        ),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_sentence(subject, options, why):
    with pytest.raises(ValueError, match=why) as error:
        audit(subject, **options)
    assert "\n" not in str(error.value)
