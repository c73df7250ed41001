"""Pictures to work on, and work on a GPU, with a stand-in for torch: every step once, the queue never dry nor over."""

from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace

import pytest

from joulemark.selftest.load import CHUNK, CONSTANT, IN_FLIGHT, PINK, ZEROS, TorchLoad, pictures


class Torch:
    """Counts steps; an event is done when it was asked about twice."""

    def __init__(self, *uuids: str) -> None:
        self.steps, self.queued, self.most = 0, 0, 0
        self.cuda = SimpleNamespace(
            is_available=lambda: bool(uuids), device_count=lambda: len(uuids), set_device=lambda device: None,
            get_device_properties=lambda index: SimpleNamespace(uuid=uuids[index]),
            synchronize=lambda device: None, Event=lambda: Event(self),
        )  # fmt: skip

    def device(self, kind: str, index: int) -> tuple[str, int]:
        return kind, index

    def zeros(self, size: int, device: object) -> None: ...

    def inference_mode(self) -> contextlib.nullcontext:
        return contextlib.nullcontext()

    def step(self) -> None:
        self.steps += 1


class Event:
    def __init__(self, torch: Torch) -> None:
        self.torch, self.asked = torch, 0

    def record(self) -> None:
        self.torch.queued += 1
        self.torch.most = max(self.torch.most, self.torch.queued)

    def query(self) -> bool:
        self.asked += 1
        if self.asked == 3:
            self.torch.queued -= 1
        return self.asked >= 3

    def synchronize(self) -> None:
        self.torch.queued -= 1


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Torch:
    fake = Torch("bb", "aa")
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    return fake


@pytest.mark.parametrize("iterations", [1, CHUNK, 10 * CHUNK + 3])
@pytest.mark.parametrize("watched", [False, True])
def test_every_step_is_done_once(torch: Torch, iterations: int, watched: bool) -> None:
    load, seen = TorchLoad("GPU-aa"), []
    load._steps["cnn"] = torch.step
    load.run("cnn", iterations, (lambda: seen.append(torch.steps)) if watched else None)
    assert (torch.steps, torch.queued) == (iterations, 0)
    assert torch.most <= IN_FLIGHT and bool(seen) == watched


def test_work_goes_to_the_board_of_the_counter(torch: Torch) -> None:
    assert TorchLoad("GPU-aa").device == ("cuda", 1)
    with pytest.raises(RuntimeError, match="torch sees GPU-bb, GPU-aa, and the counter is of GPU-cc"):
        TorchLoad("GPU-cc")


def test_no_cuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", Torch())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        TorchLoad("GPU-aa")


def test_pictures_are_what_their_names_say() -> None:
    assert not pictures(ZEROS).any() and (pictures(CONSTANT) == 1).all()
    pink = pictures(PINK)
    assert pink.std() == pytest.approx(1.0, rel=0.01)
    neighbours = (pink[..., 1:] * pink[..., :-1]).mean()
    assert neighbours > 0.5  # photographs are smooth; white noise has 0
