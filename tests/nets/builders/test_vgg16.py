"""VGG16 against its published counts and shapes, without numbers."""

from __future__ import annotations

import pytest
from torch import nn


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("vgg16", rows=16)


def test_the_published_parameters_and_macs(counted):
    parameters, macs = counted("vgg16")[""]
    assert parameters == 138_357_544  # torchvision's models
    assert macs == pytest.approx(15.47e9, rel=3e-3)


def test_the_published_convolutions(meta, counted):
    """14.7 million weights and 15.3 billion MACs: Y.-H. Chen et al., ISSCC 2016."""
    weights = sum(p.numel() for p in meta("vgg16").features.parameters() if p.dim() > 1)
    assert weights == pytest.approx(14.7e6, rel=2e-3)
    assert counted("vgg16")["features"][1] == pytest.approx(15.3e9, rel=4e-3)


def test_the_outputs_of_its_children(shapes):
    assert shapes("vgg16") == {"features": (512, 7, 7), "flatten": (25_088,), "classifier": (1000,)}


def test_a_pooling_of_two_by_two_stands_where_its_docstring_says(meta):
    features = meta("vgg16").features
    pools = [place for place, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    assert [place - 2 for place in pools] == [2, 7, 14, 21, 28]  # a convolution and its ReLU before each
    assert {(features[place].kernel_size, features[place].stride) for place in pools} == {(2, 2)}


def test_every_layer_but_the_last_has_a_relu(meta):
    layers = [one for one in meta("vgg16").modules() if not list(one.children())]
    weighty = [place for place, one in enumerate(layers) if isinstance(one, nn.Conv2d | nn.Linear)]
    assert len(weighty) == 16
    assert all(isinstance(layers[place + 1], nn.ReLU) for place in weighty[:-1])
    assert weighty[-1] == len(layers) - 1


def test_its_names_are_those_of_the_published_weights(meta):
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    layers = [*(f"features.{place}" for place in places), *(f"classifier.{place}" for place in (0, 3, 6))]
    assert list(meta("vgg16").state_dict()) == [f"{one}.{end}" for one in layers for end in ("weight", "bias")]
