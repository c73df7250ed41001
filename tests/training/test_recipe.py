"""What a recipe is made of: the schedule by hand, the changes of images."""

from __future__ import annotations

import pytest
import torch

from joulemark.training import cosine, crop_flip


def test_cosine_by_hand():
    assert cosine(0.0) == 0.0
    assert cosine(0.025) == pytest.approx(0.25)
    assert cosine(0.1) == 1.0
    assert cosine(0.1 + 0.9 / 3) == pytest.approx(0.75)  # cos 60 degrees is a half
    assert cosine(0.55) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0)
    assert cosine(0.0, warm_up=0.0) == 1.0
    assert cosine(0.5, warm_up=0.0) == pytest.approx(0.5)


def test_crop_flip_shifts_and_mirrors_whole_images():
    size = 6
    image = torch.arange(1.0, 1.0 + 2 * size * size).reshape(2, size, size)
    images = image.expand(400, 2, size, size).contiguous(memory_format=torch.channels_last)
    changed = crop_flip(images, torch.Generator().manual_seed(0), padding=2)
    assert changed.shape == images.shape
    framed = torch.zeros(2, size + 4, size + 4)
    framed[:, 2:-2, 2:-2] = image
    windows = {
        (top, left, mirror): (w.flip(2) if mirror else w)
        for top in range(5)
        for left in range(5)
        for mirror in (False, True)
        for w in [framed[:, top : top + size, left : left + size]]
    }
    found = [[key for key, window in windows.items() if torch.equal(one, window)] for one in changed]
    assert all(len(keys) == 1 for keys in found)
    seen = {keys[0] for keys in found}
    assert len(seen) == len(windows)  # every shift, mirrored and not
    mirrored = sum(keys[0][2] for keys in found)
    assert 160 < mirrored < 240
