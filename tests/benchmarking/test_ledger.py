"""The ledger: what is finished is not repeated, what it cost is booked once, whoever stops the process and when."""

from __future__ import annotations

import time

import pytest

from joulemark.benchmarking.ledger import Ledger, LedgerCheckpoint
from joulemark.nets.net import Net
from joulemark.store import Store
from joulemark.vocabulary import listening, look_up


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def opened(tmp_path):
    """Opens ledgers on one store, as processes that follow each other do."""

    def make(owner: str = "mine") -> Ledger:
        return Ledger(Store(tmp_path, hardware_class="here", task="t"), owner)

    return make


def work(ledger: Ledger, calls: list[str], *, stop_at: str | None = None) -> list:
    """Four steps, two of them within a third; each takes 10 ms and as many passes as its place says."""

    def step(name: str, passes: int):
        def make():
            if name == stop_at:
                raise Killed
            calls.append(name)
            time.sleep(0.01)
            ledger.passes += passes
            ledger.fitted += passes
            return {"done": name}

        return ledger.remember(name, make, folder=ledger.owner)

    def both():
        found = [step("inner-a", 10), step("inner-b", 100)]
        if stop_at == "outer":
            raise Killed
        return found

    return [step("first", 1), ledger.remember("outer", both, folder=ledger.owner), step("last", 1000)]


@pytest.mark.parametrize("stop_at", ["first", "inner-a", "inner-b", "outer", "last"])
def test_a_kill_at_any_step_repeats_nothing_and_books_all_of_it_once(opened, stop_at):
    expected = work(opened("undisturbed"), [])
    calls: list[str] = []
    with pytest.raises(Killed):
        work(opened(), calls, stop_at=stop_at)
    again = opened()
    assert work(again, calls) == expected
    assert calls == ["first", "inner-a", "inner-b", "last"]
    assert (again.cost.image_passes, again.cost.fitted_passes) == (1111, 1111)
    assert again.cost.seconds >= 0.04  # the seconds of the killed process are in it
    assert again.interrupted
    assert not opened("other").interrupted


def test_a_finished_ledger_is_read_with_its_whole_cost(opened):
    first = opened()
    work(first, [])
    cost, again = first.cost, opened()
    calls: list[str] = []
    work(again, calls)
    assert calls == []
    assert again.steps_restored == 3  # what is within "outer" came with it
    assert again.cost.image_passes == cost.image_passes == 1111
    assert again.cost.seconds >= 0.04


def test_a_step_of_another_attempt_spends_the_budget_and_costs_nothing(opened):
    def make(ledger: Ledger):
        def fitted():
            ledger.passes, ledger.fitted, ledger.searched = 50, 40, 30
            return 1

        return fitted

    for owner in ("mine", "yours"):
        ledger = opened(owner)
        assert ledger.remember("part", make(ledger), folder="shared") == 1
    assert (ledger.cost.image_passes, ledger.cost.fitted_passes, ledger.cost.searched_passes) == (0, 40, 30)


def test_steps_of_one_kind_are_numbered_within_what_is_around_them(opened):
    ledger = opened()
    assert [ledger.numbered("fit"), ledger.numbered("fit")] == ["fit-0", "fit-1"]
    with ledger.inside("part-1"):
        assert ledger.numbered("fit") == "fit-0"
        ledger.remember("fit-0", lambda: "inside", folder="mine")
    assert ledger.numbered("fit") == "fit-2"
    assert ledger.remember("fit-0", lambda: "outside", folder="mine") == "outside"


def test_a_damaged_step_is_made_again(opened):
    ledger = opened()
    ledger.remember("part", lambda: 1, folder="mine")
    ledger.store.write("steps/mine/part.step", b"broken")
    assert not ledger.has("part", folder="mine")
    assert ledger.remember("part", lambda: 2, folder="mine") == 2


def test_a_net_comes_back_as_it_was(opened):
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    opened().remember("net", lambda: net, folder="mine")
    again = opened().remember("net", lambda: None, folder="mine")
    assert again.hash == net.hash


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_what_a_step_changed_beside_its_result_comes_back_with_it(opened):
    def make(counter: Counter):
        def count():
            counter.count += 7
            return "done"

        return count

    for _ in range(2):
        counter = Counter()
        assert opened().remember("part", make(counter), folder="mine", changes=[counter]) == "done"
        assert counter.count == 7


def test_a_checkpoint_carries_what_was_spent_until_then(opened):
    ledger = opened()
    kept = LedgerCheckpoint(ledger, "mine", "epochs")
    assert kept.load() is None
    ledger.passes += 30
    time.sleep(0.02)
    kept.save(b"half")
    ledger.passes += 5  # lost with the kill
    again = opened()
    assert LedgerCheckpoint(again, "mine", "epochs").load() == b"half"
    assert again.cost.image_passes == 30
    assert again.cost.seconds >= 0.02


def test_a_stored_step_tells_again_what_was_looked_up_in_it(opened):
    def make():
        look_up("router", "onward")
        return 1

    for _ in range(2):
        with listening() as heard:
            assert opened().remember("part", make, folder="mine") == 1
        assert heard == {"joulemark.nets.routers.onward"}


def test_a_step_of_which_code_was_changed_is_made_again(tmp_path):
    code = {"joulemark.nets.routers.onward": "old"}

    def ledger() -> Ledger:
        return Ledger(
            Store(tmp_path, hardware_class="here", task="t"),
            "mine",
            trace=lambda modules: {one: code[one] for one in modules},
            changed=lambda stored: [unit for unit, was in stored.items() if code[unit] != was],
        )

    def part(value: int):
        def make():
            look_up("router", "onward")
            return value

        return ledger().remember("part", make, folder="mine")

    assert [part(1), part(2)] == [1, 1]
    code["joulemark.nets.routers.onward"] = "new"
    assert part(3) == 3


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, {1: object()}])
def test_what_json_cannot_hold_is_refused(opened, value):
    with pytest.raises(ValueError, match=r"^what is remembered must be a Net or JSON: "):
        opened().remember("part", lambda: value, folder="mine")


def test_the_first_time_gives_what_a_restart_gives(opened):
    first, again = (opened().remember("part", lambda: {"a": (1, 2), 3: 0.5}, folder="mine") for _ in "ab")
    assert first == again == {"a": [1, 2], "3": 0.5}
