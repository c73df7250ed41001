"""A folder has one writer; who comes second is told who is there, and nobody is locked out by a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from joulemark.machine.atomic_files import StoreError
from joulemark.machine.held_folder import NAME, held

HOLDS = """
import sys, time
from pathlib import Path
from joulemark.machine.held_folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_with_the_first_ones_name(tmp_path, holder):
    said = rf"is being written by process {holder.pid} on .* since 20.*: wait until"
    with pytest.raises(StoreError, match=said), held(tmp_path):
        pytest.fail("it was held twice")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_crash_leaves_nothing_locked(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    with held(tmp_path):
        assert f'"process":{os.getpid()}' in (tmp_path / NAME).read_text()


def test_it_is_given_back_also_when_the_block_raises(tmp_path):
    with pytest.raises(KeyError), held(tmp_path):
        raise KeyError
    with held(tmp_path / "new" / "folder"), held(tmp_path):
        pass


def test_a_file_that_says_nothing_is_another_process(tmp_path, holder):
    (tmp_path / NAME).write_text("garbage")
    with pytest.raises(StoreError, match="is being written by another process"), held(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"), held(tmp_path / "file" / "below"):
        pass


def test_a_link_to_another_file_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / NAME).symlink_to(precious)
    with pytest.raises(StoreError, match="cannot write"), held(folder):
        pass
    assert precious.read_text() == "mine"
