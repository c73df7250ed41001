"""SqueezeNet against the published counts and the authors' compressed weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from joulemark.nets.builders.squeezenet import Bypass, fire_sizes, squeezenet
from joulemark.nets.layers.fire import Fire, FireSizes
from joulemark.nets.net import Net

WEIGHTS = "weights/squeezenet_v1.0_deepcompressed_decoded_f32.npz"
NAMES = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3", "conv_final": "conv10"}
DATA = Path(os.environ.get("JOULEMARK_DATA") or "nowhere")
WNIDS = {"n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497, "n03394916": 566,
         "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "parameters", "macs"),
    [
        ({}, 1_248_424, 861.3e6),  # conv by conv in tests/energy/test_accelerator.py
        ({"conv10_padding": 0}, 1_248_424, 861.3e6 - (15 * 15 - 13 * 13) * 512 * 1000),
        ({"version": "1.1", "conv10_padding": 0}, 1_235_496, 861.3e6 / 2.22),  # "2.4x" by the authors' own count
    ],
)
def test_counts(options, parameters, macs):
    net = squeezenet(**options).eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert net(torch.zeros(1, 3, 227, 227)).shape == (1, 1000)
    assert counter.get_total_flops() / 2 == pytest.approx(macs, rel=2e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"version": "1.2"}, r"version of SqueezeNet '1\.2'"),
        ({"bypass": "both"}, "bypass 'both'"),
        ({"squeeze_ratio": 0.001}, r"fire2 would have FireSizes\(squeeze=0, .*every layer needs a filter"),
        ({"frequency": 0}, "frequency is 0"),
        ({"depth": 3}, "does not take"),
    ],
)
def test_what_makes_no_net_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Net.new("squeezenet", (3, 227, 227), seed=0, **options)


def test_the_rule_by_hand():
    assert [tuple(size) for size in fire_sizes()] == [
        (squeeze, 4 * squeeze, 4 * squeeze) for squeeze in (16, 16, 32, 32, 48, 48, 64, 64)
    ]
    sizes = fire_sizes(base=100, increment=50, frequency=3, share_3x3=0.9, squeeze_ratio=0.5)
    assert [tuple(size) for size in sizes[2:4]] == [(50, 10, 90), (75, 15, 135)]


def test_the_papers_sweep_of_squeeze_ratios_ends_at_19_megabytes():
    """Section 5.2, recalled: 4.8 MB at a ratio of 0.125, 19 MB at 0.75, float32."""
    with torch.device("meta"):
        megabytes = [
            4e-6 * sum(p.numel() for p in squeezenet(squeeze_ratio=ratio).parameters()) for ratio in (0.125, 0.75)
        ]
    assert megabytes == [pytest.approx(4.99, abs=0.01), pytest.approx(19, abs=1)]


def test_bypasses():
    rows = torch.rand(1, 3, 64, 64)
    counts = {}
    for bypass in ("none", "simple", "complex"):
        net = Net.new("squeezenet", (3, 64, 64), seed=0, bypass=bypass, classes=10)
        module = net.module()
        assert module(rows).shape == (1, 10)
        counts[bypass] = net.parameters()
        assert [name for name, one in module.named_children() if isinstance(one, Bypass)] == {
            "none": [], "simple": ["fire3", "fire5", "fire7", "fire9"], "complex": [f"fire{n}" for n in range(2, 10)]
        }[bypass]  # fmt: skip
    assert counts["simple"] == counts["none"]
    one_by_one = sum((a + 1) * b for a, b in ((96, 128), (128, 256), (256, 384), (384, 512)))
    assert counts["complex"] == counts["none"] + one_by_one
    fire = Bypass(Fire(8, FireSizes(2, 4, 4)), 8, 8)
    x = torch.rand(1, 8, 5, 5)
    assert torch.equal(fire(x), fire.fire(x) + x)


def published() -> Net:
    with np.load(DATA / WEIGHTS) as arrays:
        state = {}
        for name in arrays.files:
            parts = [NAMES.get(part, part) for part in name.split(".")]
            state[".".join(parts)] = torch.from_numpy(arrays[name])
    return Net(builder="squeezenet", input_shape=(3, 227, 227), state=state)


@pytest.mark.skipif(not (DATA / WEIGHTS).is_file(), reason="JOULEMARK_DATA holds no SqueezeNet weights")
def test_published_weights_score_what_their_authors_claim():
    """57.2 and 81.6 % on 500 images of ten classes, among all thousand; here of every tenth image: 50 of them."""
    image_file = pytest.importorskip("PIL.Image")
    module = published().module()
    right = first = seen = 0
    mean = torch.tensor([104.0, 117.0, 123.0])[:, None, None]  # blue, green, red: as Caffe reads pictures
    for folder in sorted((DATA / "imagenet-val500").iterdir()):
        for path in sorted(folder.iterdir())[::10]:
            picture = image_file.open(path).convert("RGB").resize((227, 227), image_file.Resampling.BILINEAR)
            x = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).flip(0).float() - mean
            with torch.no_grad():
                top = module(x[None])[0].topk(5).indices.tolist()
            seen += 1
            first += top[0] == WNIDS[folder.name]
            right += WNIDS[folder.name] in top
    assert seen == 50
    assert first / seen == pytest.approx(0.572, abs=0.15)
    assert right / seen == pytest.approx(0.816, abs=0.12)
