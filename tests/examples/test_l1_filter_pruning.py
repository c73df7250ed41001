"""The public example cuts filters for real, those of the least L1 norm, and passes what our own techniques pass."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from joulemark import testing
from joulemark.nets.net import Net
from joulemark.techniques.paper import read_paper
from joulemark.techniques.technique import file_techniques

FILE = Path(__file__).parents[2] / "examples" / "l1_filter_pruning.py"


@pytest.fixture(scope="module")
def technique():
    [made] = file_techniques(FILE)
    return made


class Untrained:
    """A workbench that trains nothing, so that what was cut can be compared weight by weight."""

    epochs = 1

    def note(self, name, value):
        self.noted = {name: value}

    def fit(self, net, *, epochs):
        return net


def test_it_passes_the_checks_of_a_technique(technique):
    testing.check_technique(technique, knobs={"share": 0.6})


def test_it_keeps_the_filters_that_a_person_would(technique):
    net = Net.new("lenet", (1, 28, 28), seed=0)
    bench = Untrained()
    smaller = technique(net, bench, share=0.6)
    before, after = net.module().stage1.conv.weight, smaller.module().stage1.conv.weight
    norms = before.abs().sum((1, 2, 3))
    assert torch.equal(after, before[norms >= norms.sort().values[12]])  # 8 of 20, in their order
    assert bench.noted == {"filters_kept": {"stage1.conv": 8, "stage2.conv": 20}}
    assert smaller.module().stage2.conv.weight.shape == (20, 8, 5, 5)
    assert smaller.parameters() < net.parameters()


def test_a_residual_sum_is_cut_as_one(technique):
    smaller = technique(Net.new("resnet20", (3, 32, 32), seed=0), Untrained(), share=0.5)
    assert smaller.module()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert smaller.module().conv1.out_channels == 8


def test_its_docstring_is_read_as_a_papers(technique):
    paper = read_paper(inspect.getdoc(inspect.getmodule(technique.function)))
    assert "1608.08710" in paper.reference
    assert [claim.mark for claim in paper.claims] == ["recalled", "recalled"]
    lines = FILE.read_text().split('"""', 2)[2].splitlines()
    assert len([line for line in lines if line.strip()]) <= 35
