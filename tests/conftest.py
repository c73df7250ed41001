"""What tests leave behind in their process: nothing that the next one meets."""

from __future__ import annotations

import gc
import sys

import pytest

from joulemark import vocabulary


def pytest_collection_finish():
    """Thousands of tests and all that they import stay to the end: no collection of garbage looks at them again.

    Before every window that is measured there is one.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def names_end_with_their_module():
    """Names of live objects and of users' files are those of a process: the next module must not know them."""
    before = [(table, dict(table)) for table in (vocabulary._live, vocabulary._registered)]
    yield
    for table, content in before:
        table.clear()
        table.update(content)


@pytest.fixture
def own_registrations(monkeypatch):
    """The test begins without users' names, nets and data, and what it registers is gone after it."""
    from joulemark.data.own import own_data
    from joulemark.nets import own_nets

    monkeypatch.setattr(sys, "path", [*sys.path])
    for module, name in (
        (vocabulary, "_registered"), (vocabulary, "_live"), (own_nets, "_given"), (own_nets, "_sources"),
        (own_data, "_held"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, {})


@pytest.fixture
def threads_given_back():
    """Compiling a net sets the threads of the process: the test after this one has those from before."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
