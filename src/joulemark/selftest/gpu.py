"""The bench of `selftest-gpu`: a board with a counter that torch can work on, or the sentence why there is none."""

from __future__ import annotations

import os

from joulemark.meters.nvml import find_nvml, find_nvml_power
from joulemark.meters.source import PowerSensor
from joulemark.selftest.load import TorchLoad
from joulemark.selftest.rig import Bench


class CannotTest(Exception):  # noqa: N818  (an answer, not a fault)
    """There is no GPU to test; the message is the reason."""


def open_bench() -> Bench:
    """The first board that has a counter and that torch sees. Raises :class:`CannotTest`."""
    boards, missing = find_nvml()
    if not boards:
        raise CannotTest("; ".join(f"{one.name}: {one.reason}" for one in missing))
    reasons = []
    bound = os.environ.get("CUDA_VISIBLE_DEVICES")
    for board in boards:
        try:
            load = TorchLoad(board.uuid)
        except ImportError:
            reasons.append("torch is not installed")
            break
        except RuntimeError as error:
            reasons.append(str(error))
            if bound is None:  # it was bound to this board, and the next one is another
                os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            continue
        sensors, _ = find_nvml_power()
        powers: dict[str, PowerSensor] = {one.kind: one for one in sensors if one.uuid == board.uuid}
        return Bench(board=board.uuid, counter=board, powers=powers, load=load)
    raise CannotTest("; ".join(dict.fromkeys(reasons)))
