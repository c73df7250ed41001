"""AlexNet in one group against torchvision's published counts, names and shapes, without numbers."""

from __future__ import annotations

import pytest
from torch import nn


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("alexnet-torchvision", rows=8)


def test_the_published_parameters_and_macs(counted):
    parameters, macs = counted("alexnet-torchvision")[""]
    assert parameters == 61_100_840  # torchvision's models
    assert macs == pytest.approx(714.7e6, rel=1e-3)


def test_the_outputs_of_its_children(shapes):
    assert shapes("alexnet-torchvision") == {
        "features": (256, 6, 6), "avgpool": (256, 6, 6), "flatten": (9216,), "classifier": (1000,)
    }  # fmt: skip


def test_its_names_are_those_of_the_published_weights(meta):
    layers = [*(f"features.{place}" for place in (0, 3, 6, 8, 10)), *(f"classifier.{place}" for place in (1, 4, 6))]
    names = list(meta("alexnet-torchvision").state_dict())
    assert names == [f"{one}.{end}" for one in layers for end in ("weight", "bias")]


def test_it_has_neither_groups_nor_local_response_normalisation(meta):
    layers = list(meta("alexnet-torchvision").modules())
    assert {layer.groups for layer in layers if isinstance(layer, nn.Conv2d)} == {1}
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in layers)


def test_every_layer_but_the_last_has_a_relu(meta):
    layers = [one for one in meta("alexnet-torchvision").modules() if not list(one.children())]
    weighty = [place for place, one in enumerate(layers) if isinstance(one, nn.Conv2d | nn.Linear)]
    assert len(weighty) == 8
    assert all(isinstance(layers[place + 1], nn.ReLU) for place in weighty[:-1])
    assert weighty[-1] == len(layers) - 1
