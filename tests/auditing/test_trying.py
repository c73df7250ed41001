"""Trying ways: the time they take with a counter and without, and which images they are compared on."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from small_graphs import SHAPE

from joulemark.auditing import trying
from joulemark.auditing.subject import open_subject
from joulemark.auditing.trying import FEWEST_BLOCKS, WINDOWS, Trier, Way, schedule, ways
from joulemark.meters.meters import Meters
from joulemark.meters.source import timed
from joulemark.record import Kind, Quantity


class TenWatts:
    """A counter of microjoules that a machine of ten watts drives."""

    name = scope = path = "fake"
    unit_joules, modulus, max_watts = 1e-6, None, 100.0
    update_seconds, gain_uncertainty, citation = 1e-3, None, "made up"

    def read(self):
        return timed(lambda: time.perf_counter_ns() // 100)

    def close(self):
        pass


@pytest.fixture(scope="module")
def subject():
    return open_subject("small_graphs:build", None)


@pytest.mark.parametrize(
    ("share", "least", "metered", "window", "blocks", "needed"),
    [
        (24.0, 0.01, False, 0.2, 12, 3.2),  # 30 blocks would fit
        (4.0, 0.01, False, 0.2, 5, 3.2),
        (4.0, 1.0, False, 0.2, 4, 16.0),  # a pass takes longer than a window
        (24.0, 0.01, True, 1.2, 4, 19.2),
        (600.0, 0.01, True, 10.0, 4, 160.0),
        (0.1, 0.01, True, 0.2, 4, 3.2),
        (24.0, 3.0, True, 3.0, 4, 48.0),
    ],
)
def test_windows_and_blocks_by_hand(share, least, metered, window, blocks, needed):
    measuring, seconds = schedule(share, least, metered=metered)
    assert seconds == pytest.approx(needed)
    if metered:
        assert (measuring.joules_window_seconds, measuring.joules_blocks) == (pytest.approx(window), blocks)
    else:
        assert (measuring.window_seconds, measuring.blocks) == (window, blocks)


@pytest.mark.parametrize("sources", [[], [TenWatts()]])
def test_five_minutes_hold_with_and_without_a_counter(monkeypatch, subject, sources):
    """On a clock that only windows move: each takes as long as it was asked to."""
    now = 0.0

    def taking_time(pairs, images, measuring, meters):
        nonlocal now
        length = measuring.joules_window_seconds if meters.sources else measuring.window_seconds
        blocks = measuring.joules_blocks if meters.sources else measuring.blocks
        now += blocks * WINDOWS * length
        quantity = Quantity(
            value=1.0, unit="J/input", kind=Kind.MEASURED, method="m", scope="s", source="", random=None
        )
        for pair in pairs:
            pair.seconds += [(1.0, 1.0, 1.0)] * blocks
            pair.cpu_seconds += [(1.0, 1.0, 1.0)] * blocks
            pair.joules += [(quantity, quantity, quantity)] * blocks

    clock = SimpleNamespace(monotonic=lambda: now, perf_counter=time.perf_counter)
    monkeypatch.setattr(trying, "time", clock)
    monkeypatch.setattr(trying, "measure_pairs", taking_time)
    rows = np.random.default_rng(0).standard_normal((40, *SHAPE), dtype=np.float32)
    trier = Trier(subject, rows, seconds=255.0, meters=Meters(sources, []))
    monkeypatch.setattr(trier, "each", 1e-3)
    monkeypatch.setattr(trier, "made", lambda way: trier.baseline)
    tried = list(trier.try_all(ways(subject, 4), lambda line: None))
    assert now <= 255.0
    assert all(len(one.blocks) >= FEWEST_BLOCKS for one in tried if not {"bf16", "compile"} & {*one.options})
    if sources:
        assert now > 0.7 * 255.0  # and it is used: a counter tells more of a long window


def test_a_net_without_finite_outputs_is_refused_with_what_to_look_at(subject):
    rows = np.full((4, *SHAPE), np.nan, np.float32)
    with pytest.raises(ValueError, match=r"not finite .* --scale, --mean and --std"):
        Trier(subject, rows, seconds=60.0, meters=Meters([], []))


def test_with_a_counter_joules_are_known(subject):
    rows = np.random.default_rng(0).standard_normal((4, *SHAPE), dtype=np.float32)
    trier = Trier(subject, rows, seconds=60.0, meters=Meters([TenWatts()], []))
    found = trier._try(Way("onnxruntime"), control=True, left=60.0, share=3.2)
    assert len(found.blocks) == FEWEST_BLOCKS
    assert found.joules.value == pytest.approx(10.0 * found.seconds.value, rel=0.2)
    assert found.joules_ratio is not None


@pytest.mark.parametrize("way", [Way("onnxruntime"), Way("onnxruntime", integers=True)])
def test_a_way_that_does_not_fit_in_what_is_left_says_so(subject, way):
    rows = np.zeros((4, *SHAPE), np.float32)
    trier = Trier(subject, rows, seconds=WINDOWS * 0.2, meters=Meters([TenWatts()], []))
    found = trier._try(way, control=False, left=1.0, share=1.0)
    assert "the time was used up" in found.reason


@pytest.mark.parametrize(("images", "calibrating"), [(1, 1), (2, 1), (9, 4), (63, 31), (64, 32), (200, 32)])
def test_outputs_are_compared_on_images_that_set_no_range(subject, images, calibrating):
    rows = np.arange(images, dtype=np.float32)[:, None, None, None] * np.ones((1, *SHAPE), np.float32)
    trier = Trier(subject, rows, seconds=60.0, meters=Meters([], []))
    seen = [{float(row[0, 0, 0]) for row in some} for some in (trier.calibration, trier.compared)]
    assert len(seen[0]) == calibrating
    assert len(seen[1]) >= min(16, max(1, images - calibrating))
    assert bool(seen[0] & seen[1]) is (images == 1)  # which the notes say
