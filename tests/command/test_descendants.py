"""What runs on when a command has ended, with real processes of our own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from joulemark.command.descendants import adopting, children, left_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")


def soon(true: Callable[[], object]) -> bool:
    """Whether it comes true within some seconds."""
    end = time.monotonic() + 10
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def orphan(script: str) -> int:
    """Number of a process that a shell started, and left when it ended."""
    done = subprocess.run(["sh", "-c", f"{script} >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


def test_a_child_is_known_by_its_number_name_and_state(sleeper: subprocess.Popen[bytes]) -> None:
    assert soon(lambda: children().get(sleeper.pid) == ("sleep", "S"))
    sleeper.kill()
    assert soon(lambda: children().get(sleeper.pid) == ("sleep", "Z"))  # nobody has waited for it yet
    sleeper.wait()
    assert sleeper.pid not in children()


def test_only_our_own_children_are_found() -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        found = children()
        assert child.pid in found
        assert not {grandchild, os.getpid(), os.getppid(), 1} & set(found)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("name", ["odd) Z 1", "two words", "(", "a\nb"])
def test_a_name_with_any_letters_is_read_whole(name: str) -> None:
    program = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {name.encode()!r}); time.sleep(60)"  # PR_SET_NAME
    child = subprocess.Popen([sys.executable, "-S", "-c", program])
    try:
        assert soon(lambda: children()[child.pid][0] == name)
        assert children()[child.pid][1] in "SR"
    finally:
        child.kill()
        child.wait()


def test_what_runs_is_named_unless_it_was_known_before(sleeper: subprocess.Popen[bytes]) -> None:
    others = set(children()) - {sleeper.pid}
    assert soon(lambda: left_running(others) == {sleeper.pid: "sleep"})
    assert left_running({*others, sleeper.pid}) == {}


def test_an_orphan_is_adopted_named_and_reaped_when_it_has_ended() -> None:
    known = set(children())
    with adopting():
        pid = orphan("exec sleep 60")
        try:
            assert soon(lambda: left_running(known) == {pid: "sleep"})
        finally:
            os.kill(pid, signal.SIGKILL)
        assert soon(lambda: not left_running(known) and pid not in children())
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_outside_nothing_is_adopted_even_after_an_error() -> None:
    with contextlib.suppress(KeyError), adopting():
        raise KeyError
    pid = orphan("exec sleep 60")
    try:
        assert pid not in children()
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_known_child_that_has_ended_is_left_to_whoever_waits_for_it() -> None:
    child = subprocess.Popen(["sh", "-c", "exit 7"])
    assert soon(lambda: children().get(child.pid, ("", ""))[1] == "Z")
    assert child.pid not in left_running({child.pid})
    assert child.wait() == 7


def test_an_unknown_child_that_has_ended_is_reaped_and_not_named() -> None:
    known = set(children())
    pid = os.posix_spawn("/bin/true", ["true"], os.environ)
    assert soon(lambda: children().get(pid, ("", ""))[1] == "Z")
    assert left_running(known) == {}
    assert pid not in children()
