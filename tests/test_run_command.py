"""What runs a suite again: its name or task file with the limits that it was run at, or the call in Python."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking.suite_files import load_suite, narrowed
from joulemark.run_command import run_command, task_file
from joulemark.task import Own


def own(name="mine", *, isolated=True, limit=1.0):
    suite = tiny_suite(name=name, limits_points=(limit,))
    task = msgspec.structs.replace(suite.task, name=name, data=f"user/{name}", own=Own(net="n", isolated=isolated))
    return msgspec.structs.replace(suite, task=task)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "joulemark run quick"),
        ({"limit": 2.0}, "joulemark run quick"),  # its own limit
        ({"limit": 0.25}, "joulemark run quick --limit 0.25"),
        ({"limit": 1.0, "limit_images": 64}, "joulemark run quick --limit 1 --limit-images 64"),
    ],
)
def test_a_suite_of_ours_with_its_options(options, command):
    suite = narrowed(load_suite("quick"), **options)
    assert run_command(suite) == command
    assert task_file(suite) is None


@pytest.mark.parametrize(
    ("suite", "command"),
    [
        (own(), "joulemark run mine.py"),
        (narrowed(own(), limit=0.5), "joulemark run mine.py --limit 0.5"),
        (narrowed(own(), limit=0.5, limit_images=9), "joulemark run mine.py --limit 0.5 --limit-images 9"),
        (own("net-limit1"), "joulemark run net-limit1.py"),  # a file of that name
        (narrowed(own("net-limit1"), limit_images=9), "joulemark run net-limit1.py --limit-images 9"),
        (own(limit=2.0), "joulemark run mine.py"),  # the file's own limit
    ],
)
def test_a_task_file_with_its_options(suite, command):
    assert run_command(suite) == command
    assert run_command(suite, "int8") == command.replace(".py", ".py -t int8")
    assert task_file(suite) == command.split()[2]


def test_objects_of_a_session_have_a_call():
    suite = own(isolated=False)
    assert task_file(suite) == ""
    assert run_command(suite) == "joulemark.benchmark(task)"
    narrow = narrowed(suite, limit=0.5, limit_images=9)
    assert run_command(narrow, "int8") == "joulemark.benchmark(task, techniques=['int8'], limit=0.5, limit_images=9)"
