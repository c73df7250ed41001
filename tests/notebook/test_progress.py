"""Progress: what a person reads while a run goes on, and the time left."""

from __future__ import annotations

import json

import pytest

from joulemark.benchmarking.run import Event
from joulemark.notebook import progress


class Clock:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def event(what: str, done: int = 0, **more) -> Event:
    return Event(what=what, step="key", title="baseline, seed 0", done=done, steps=10, **more)


def test_time_left_counts_the_share_of_the_step_in_hand(clock):
    left = progress.TimeLeft()
    assert left.after(event("started")) is None
    clock.now += 30.0
    assert left.after(event("going", share=0.5)) == pytest.approx(30.0 / 0.5 * 9.5)
    clock.now += 30.0
    assert left.after(event("finished", done=1)) == pytest.approx(60.0 * 9)
    clock.now += 15.0
    assert left.after(event("going", done=1, share=0.25)) == pytest.approx(75.0 / 1.25 * 8.75)


def test_plain_lines_tell_of_a_long_step_but_not_of_every_epoch(clock, capsys):
    with progress.listening(json=False) as listen:
        for epoch in range(1, 11):
            clock.now += 5.0
            listen(event("going", share=epoch / 20))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[0/10, about 16 min 20 s left] baseline, seed 0: 20% done"
    assert [line.split()[-2] for line in lines] == ["20%", "40%"]


def test_a_script_hears_every_event(clock, capsys):
    with progress.listening(json=True) as listen:
        listen(event("going", share=0.25))
    assert json.loads(capsys.readouterr().out)["share"] == 0.25
