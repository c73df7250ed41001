"""The meters of a study: a counter that turns while a net is being made is followed."""

from __future__ import annotations

import contextlib
import sys
import time
import types
from pathlib import Path

import pytest

import joulemark.meters.meters as meters_module
from joulemark.benchmarking.session import Session

TURNING = """
import time
from joulemark.meters.source import timed

class Toy:
    # 100 W on a counter that turns each 1.5 s and can be told from a reset by 110 W at most
    name, scope, path, modulus, unit_joules = "toy", "toy package", "wall/toy", 150_000_000, 1e-6
    max_watts, update_seconds, gain_uncertainty, citation = 110.0, 1e-3, None, "made up"

    def read(self):
        return timed(lambda: time.perf_counter_ns() // 10 % self.modulus)

    def close(self):
        pass

def probe():
    return [Toy()], []
"""


def test_making_a_net_may_take_longer_than_a_turn_of_the_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_turning.py").write_text(TURNING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_turning", raising=False)
    import toy_turning  # type: ignore[import-not-found]

    monkeypatch.setattr(meters_module, "probe", toy_turning.probe)
    monkeypatch.setattr(meters_module, "SAMPLED", "toy_turning:probe")
    with contextlib.ExitStack() as held:
        meters = Session.meters.func(types.SimpleNamespace(_held=held))  # type: ignore[arg-type]
        with meters.window() as window:
            time.sleep(3.4)
    assert window.joules.value == pytest.approx(100 * window.seconds.value, rel=0.01)
    assert "wrapped" in window.joules.flags
