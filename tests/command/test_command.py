"""`joulemark measure -- COMMAND`: exit codes, signals, streams, and arithmetic against a counter of known watts."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantities import joules

from joulemark.command import command
from joulemark.command.command import CannotRun, measure_command, median_interval, median_of
from joulemark.command.command_report import report_lines
from joulemark.machine.signals import FORWARDED
from joulemark.meters import meters as meters_module
from joulemark.meters.source import Unavailable, timed
from joulemark.record import Kind, Quantity

SLEEP = [sys.executable, "-c", "import time; time.sleep(0.15)"]


def joulemark(*words: str, **given) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "joulemark.cli", "measure", *words], capture_output=True, text=True, timeout=60, **given
    )


class Steady:
    """A counter that has drawn exactly so many watts since ever, in microjoules."""

    name, scope, unit_joules, modulus, max_watts = "steady", "toy package", 1e-6, None, 1000.0
    path = "wall/toy-package"
    update_seconds, gain_uncertainty, citation = 1e-3, 0.05, "made up"

    def __init__(self, watts: float) -> None:
        self.watts, self.closed = watts, False

    def read(self):
        return timed(lambda: int(time.perf_counter() * self.watts * 1e6))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def none_ignored():
    """Signals as a terminal hands them down: what a shell runs in the background ignores SIGINT."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def steady(monkeypatch) -> Steady:
    source = Steady(40.0)
    monkeypatch.setattr(meters_module, "probe", lambda: ([source], []))
    return source


@pytest.fixture
def no_counter(monkeypatch) -> None:
    monkeypatch.setattr(meters_module, "probe", lambda: ([], [Unavailable("rapl", "a virtual machine", "none")]))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
        (["sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL),
    ],
)
def test_the_exit_code_is_the_commands_as_a_shell_gives_it(no_counter, words, code):
    assert measure_command(words).exit_code == code
    assert subprocess.run(["sh", "-c", '"$@"', "sh", *words]).returncode == code  # what a shell says


@pytest.mark.parametrize(("word", "code"), [("no-such-command-anywhere", 127), ("/", 126)])
def test_what_cannot_be_run_gets_one_sentence_and_the_code_of_a_shell(word, code):
    done = joulemark("--", word)
    assert done.returncode == code
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_streams_belong_to_the_command_and_the_report_goes_to_standard_error(tmp_path):
    done = joulemark("-o", str(tmp_path / "report.json"), "--", "sh", "-c", "cat; echo loud >&2", input="in\n")
    assert done.stdout == "in\n"
    assert done.stderr.startswith("loud\njoulemark: sh -c")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["exit_code"] == 0
    assert report["command"] == ["sh", "-c", "cat; echo loud >&2"]
    for quantity in report["median"].values():
        assert quantity["value"] is not None or quantity["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_its_exit_code_comes_back(number, none_ignored):
    program = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "for _ in range(300):\n"
        "    time.sleep(0.1)\n"  # one long sleep would miss a signal that comes just before it
    )
    ours = subprocess.Popen(
        [sys.executable, "-m", "joulemark.cli", "measure", "--repeat", "3", "--", sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert ours.stdout.readline() == "ready\n"
        ours.send_signal(number)  # to our process alone, as `kill` does
        out, err = ours.communicate(timeout=20)
    finally:
        if ours.poll() is None:
            os.killpg(ours.pid, signal.SIGKILL)
            ours.communicate()
    assert ours.returncode == 7
    assert out == ""  # no second run
    assert "exit code 7, 1 of 3 runs" in err


def test_a_command_that_ends_well_after_a_signal_is_not_run_again(tmp_path):
    script = "trap 'exit 0' TERM; echo ready; sleep 60 >/dev/null 2>&1 & wait"
    ours = subprocess.Popen(
        [sys.executable, "-m", "joulemark.cli", "measure", "--repeat", "50", "--", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert ours.stdout.readline() == "ready\n"
        ours.send_signal(signal.SIGTERM)
        assert ours.stdout.readline() != "ready\n", "it was run again"
        assert ours.wait(timeout=20) == 0
        assert "exit code 0, 1 of 50 runs" in ours.stderr.readline()
    finally:
        with contextlib.suppress(ProcessLookupError):  # the signal may come before there is one
            os.killpg(ours.pid, signal.SIGKILL)  # the command's own child sleeps on
        ours.communicate()


def test_a_signal_that_comes_while_the_command_is_being_started_is_passed_on(no_counter, monkeypatch):
    class Early(subprocess.Popen):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            os.kill(os.getpid(), signal.SIGTERM)  # the command runs, and is not yet known to us

    monkeypatch.setattr(command.subprocess, "Popen", Early)
    began = time.monotonic()
    assert measure_command(["sleep", "20"], repeat=3).exit_code == 128 + signal.SIGTERM
    assert time.monotonic() - began < 15


def test_a_signal_that_comes_as_the_command_ends_by_itself_is_known_and_nothing_runs_again(no_counter, monkeypatch):
    class Ended(subprocess.Popen):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command.subprocess, "Popen", Ended)
    assert len(measure_command(["true"], repeat=3).runs) == 1


def test_a_command_under_nohup_outlives_its_terminal():
    words = [sys.executable, "-m", "joulemark.cli", "measure", "--", "sh", "-c", "echo ready; sleep 1; echo done"]
    ours = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert ours.stdout.readline() == "ready\n"
    os.killpg(ours.pid, signal.SIGHUP)  # as the kernel does when a terminal closes
    out, err = ours.communicate(timeout=20)
    assert (ours.returncode, out) == (0, "done\n"), err


def test_a_script_whose_interpreter_is_missing_says_which(tmp_path):
    script = tmp_path / "bad.sh"
    script.write_text("#!/no/such/shell -e\ntrue\n")
    script.chmod(0o755)
    done = joulemark("--", str(script))
    assert done.returncode == 126
    assert (
        done.stderr == f"joulemark: cannot run {script}: its first line asks for '/no/such/shell', which is not there\n"
    )


def test_handlers_of_signals_are_given_back(no_counter):
    before = [signal.getsignal(number) for number in FORWARDED]
    measure_command(["true"])
    with pytest.raises(CannotRun, match="command not found: nowhere-at-all"):
        measure_command(["nowhere-at-all"])
    assert [signal.getsignal(number) for number in FORWARDED] == before


def test_seconds_and_cpu_seconds_are_those_of_the_command(no_counter):
    began = time.perf_counter()
    (run,) = measure_command(SLEEP).runs
    assert 0.15 <= run.seconds.value <= time.perf_counter() - began
    assert run.cpu_seconds.value < 0.15 + run.seconds.value
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    (run,) = measure_command([sys.executable, "-c", child]).runs  # work of a grandchild counts
    assert run.cpu_seconds.value >= 0.4


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # twice, as daemons do: nobody waits for it
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        time.sleep(30)
    os._exit(0)
os.wait()
"""


def test_what_outlives_the_command_is_named_and_flags_its_joules_and_those_of_the_next_run(steady):
    measured = measure_command([sys.executable, "-c", DAEMON], repeat=2)
    first, second = measured.runs
    try:
        assert len(first.left_running) == 1
        assert set(first.left_running) < set(second.left_running)  # the second has its own, too
        assert all("left_running" in run.joules.flags for run in measured.runs)
        assert "left_running" in measured.median["joules"].flags
        assert first.left_running[0] in report_lines(measured)[-1]
    finally:
        for name in second.left_running:
            pid = int(name.rpartition("(")[2].rstrip(")"))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # adopted
    (run,) = measure_command(["sh", "-c", "(true &)"]).runs  # an orphan that has ended
    assert (run.left_running, "left_running" in run.joules.flags) == ((), False)


def test_the_callers_own_children_are_neither_named_nor_robbed_of_their_exit_codes(no_counter):
    ended = subprocess.Popen(["sh", "-c", "exit 7"])
    waiting = subprocess.Popen(["sleep", "30"])
    time.sleep(0.3)
    (run,) = measure_command(["true"]).runs
    waiting.kill()
    assert (run.left_running, ended.wait(), waiting.wait()) == ((), 7, -signal.SIGKILL)


def test_memory_above_our_own_is_known_and_below_is_not(no_counter):
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 50_000_000
    (run,) = measure_command([sys.executable, "-c", f"x = b'x' * {more}"]).runs
    assert more < run.peak_memory_bytes.value < more + 50_000_000
    (run,) = measure_command(["true"]).runs
    assert run.peak_memory_bytes.value is None
    assert "at most" in run.peak_memory_bytes.reason


def test_joules_are_watts_times_seconds_gross_and_nothing_is_left_net_of_steady_power(steady):
    measured = measure_command(SLEEP, idle_seconds=0.2)
    (run,) = measured.runs
    assert run.joules.value == pytest.approx(40.0 * run.seconds.value, rel=0.02)
    assert run.net_joules.value == pytest.approx(0.0, abs=0.02 * run.joules.value)
    assert steady.closed
    text = "\n".join(report_lines(measured))
    assert "joules (gross)" in text
    assert "joules (net)" in text


TOY = """
import time
from joulemark.meters.source import timed

class Toy:
    # A counter that turns each second, of a part that draws so many watts.
    modulus, unit_joules, update_seconds, gain_uncertainty, citation = WATTS * 10**6, 1e-6, 1e-3, 0.05, "made up"

    def __init__(self, number):
        self.name, self.scope, self.path = f"toy {number}", f"toy package-{number}", f"wall/toy-{number}"
        self.max_watts = 1.2 * WATTS

    def read(self):
        return timed(lambda: int(time.perf_counter_ns() * WATTS // 1000) % self.modulus)

    def close(self):
        pass

def probe():
    return [Toy(0), Toy(1)], []
"""


def test_a_long_command_is_sampled_by_scope_and_its_raw_readings_are_replayed(tmp_path, monkeypatch):
    (tmp_path / "toy_parts.py").write_text(TOY.replace("WATTS", "50"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import toy_parts

    monkeypatch.setattr(meters_module, "probe", toy_parts.probe)
    monkeypatch.setattr(meters_module, "SAMPLED", "toy_parts:probe")
    sleep = [sys.executable, "-c", "import time; time.sleep(2.3)"]
    measured = measure_command(sleep, idle_seconds=1.0, trace=tmp_path / "trace.jsonl")
    (run,) = measured.runs
    assert run.exit_code == 0
    assert {scope: q.value for scope, q in run.scopes.items()} == {
        f"toy package-{n}": pytest.approx(50 * run.seconds.value, rel=0.01) for n in (0, 1)
    }
    assert run.joules.value == pytest.approx(100 * run.seconds.value, rel=0.01)
    assert run.net_joules.low < 0 < run.net_joules.high  # nothing is left of steady power, on either side of 0
    lines = report_lines(measured)
    order = [next(i for i, line in enumerate(lines) if word in line) for word in ("(gross)", "package-1:", "(net)")]
    assert order == sorted(order)
    done = subprocess.run(
        [sys.executable, "-m", "joulemark.cli", "replay", str(tmp_path / "trace.jsonl"), "--json"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)
    assert {one["window"] for one in replayed} == {"idle before", "run 1", "idle after"}
    assert all(one["same"] for one in replayed)
    (again,) = [one for one in replayed if one["window"] == "run 1" and one["scope"] == "toy package-1"]
    assert again["recomputed"]["value"] == run.scopes["toy package-1"].value


def test_a_trace_that_cannot_be_written_is_said(no_counter, tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*where: No such file"):
        measure_command(["true"], trace=tmp_path / "no" / "where")


def test_without_a_counter_joules_are_unknown_with_the_reason_and_nobody_waits(no_counter):
    began = time.monotonic()
    measured = measure_command(["true"], idle_seconds=30.0)
    assert time.monotonic() - began < 5
    for name in ("joules", "net_joules"):
        assert measured.median[name].value is None
        assert "rapl: a virtual machine" in measured.median[name].reason
    assert not any(word in "\n".join(report_lines(measured)) for word in ("kWh", "saves", "CO2"))


def test_a_median_keeps_the_uncertainty_of_the_scale_and_of_windows_that_are_too_short():
    many = median_of([joules(float(value), random=4.0, systematic=0.05 * value) for value in range(100, 700, 100)])
    assert many.systematic == pytest.approx(0.05 * 350)
    assert median_of([joules(1.0, systematic=0.1), joules(2.0)]).systematic is None
    short = median_of([joules(30.0, random=4.0, flags=("too_short",)) for _ in range(6)])  # truth: 31, updates of 10
    assert (short.value, short.low, short.random) == (30.0, None, 4.0)


def test_a_median_over_runs_is_unknown_if_one_run_is():
    assert median_of([joules(1.0), joules(None), joules(3.0)]).value is None
    middle = median_of([joules(float(value)) for value in (3, 1, 2)])
    assert (middle.value, middle.low, middle.count) == (2.0, None, 3)
    flagged = median_of([joules(1.0, flags=("wrapped",)), joules(2.0)])
    assert flagged.flags == ("wrapped",)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_interval_of_the_median_holds_it_and_has_no_direction(values):
    found = median_interval(values)
    if len(values) < 6:
        assert found is None
        return
    low, high = found
    assert low <= statistics.median_low(values) <= statistics.median_high(values) <= high
    assert median_interval([-value for value in values]) == (-high, -low)


@pytest.mark.parametrize(
    ("count", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18)]
)
def test_the_interval_of_the_median_has_the_ranks_of_the_tables(count, k):
    """Ranks of the sign test's 95 % interval, Conover, Practical Nonparametric Statistics, by summing the binomial."""
    assert median_interval(list(range(1, count + 1))) == (k, count - k + 1)
    covered = sum(math.comb(count, i) for i in range(k, count - k + 1)) / 2**count
    narrower = sum(math.comb(count, i) for i in range(k + 1, count - k)) / 2**count
    assert narrower < 0.95 <= covered


def test_repeats_give_one_run_each_and_an_interval_from_six(no_counter):
    measured = measure_command(["true"], repeat=6)
    assert len(measured.runs) == 6
    middle = measured.median["seconds"]
    assert middle.low <= middle.value <= middle.high
    assert middle.low == min(run.seconds.value for run in measured.runs)
    assert "6 of 6 runs, medians" in report_lines(measured)[0]


def test_no_process_of_ours_is_left(no_counter):
    measure_command(["true"], repeat=2)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_is_known_of_unknown_joules_of_one_run_is_kept():
    one = Quantity(
        value=None, unit="J", kind=Kind.MEASURED, method="energy counter", scope="s", source="x", low=12.0, high=34.0,
        reason="it was reset",
    )  # fmt: skip
    assert median_of([one]) == one
