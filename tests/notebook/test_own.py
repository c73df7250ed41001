"""A task of live objects: copied, registered for this process, never the same as another one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import joulemark
from joulemark.benchmarking.making import made_inputs
from joulemark.benchmarking.session import Session
from joulemark.data.own.own_data import own_splits
from joulemark.judging.metrics.metric import metric
from joulemark.nets.net import Net
from joulemark.notebook.own import custom_task

ROWS = 700


def rows(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, 1, 4, 4, generator=generator), torch.arange(ROWS) % 3


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def given(name, module=None, **more):
    return custom_task(module or small(), validation=rows(1), test=rows(2), name=name, **more)


def test_the_module_is_copied_and_its_weights_are_the_baseline():
    module = small().train()
    task = given("copied", module)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    nn.init.zeros_(module[0].weight)
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.net.state.items())
    assert not task.task.own.isolated and not task.task.own.trains


def test_two_tasks_of_the_same_objects_share_a_key_and_no_result(tmp_path):
    first = given("live")
    keys = [made_inputs(Session.open(first.suite, tmp_path), (), (), 0, None)]
    second = given("live")
    keys.append(made_inputs(Session.open(second.suite, tmp_path), (), (), 0, None))
    assert first.task.key == second.task.key
    assert keys[0] != keys[1]


def test_a_saved_net_of_it_holds_a_label_and_no_path():
    task = given("label")
    data = task.net.witnessed().to_bytes()
    assert b"user/label" in data and b"site-packages" not in data and b"/home" not in data
    again = Net.from_bytes(data)
    inputs = torch.randn(3, 1, 4, 4)
    assert torch.equal(again.module()(inputs), task.net.module()(inputs))


def test_functions_are_called_and_data_with_a_length_are_taken_as_they_are():
    task = custom_task(small(), validation=lambda: rows(1), test=torch.utils.data.TensorDataset(*rows(2)), name="lazy")
    assert (task.task.splits.validation + task.task.splits.policy, task.task.splits.test) == (ROWS, ROWS)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"module": nn.Sequential(nn.Flatten())}, "without parameters"),
        ({"recipe": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"suite": {"tecniques": []}}, "did you mean 'techniques'"),
        ({"limit": 0.1}, "too few"),
        ({"rows": "many"}, "should be the most rows"),
        ({"preprocess": 3}, "should be a function"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(more, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        given("wrong", **more)
    assert "\n" not in str(caught.value)


def test_a_task_whose_name_another_one_took_is_refused():
    first = given("taken")
    given("taken")
    with pytest.raises(ValueError, match="another task called 'taken' was made since"):
        joulemark.benchmark(first)


def test_what_is_written_into_the_arrays_later_changes_nothing():
    inputs, labels = rows(1)
    task = custom_task(small(), validation=(inputs, labels), test=rows(2), name="written")
    before = own_splits(task.task)["validation"].images.copy()
    inputs.zero_()
    assert (own_splits(task.task)["validation"].images == before).all()


def test_a_task_that_is_refused_leaves_none_of_that_name():
    first = given("refused")
    with pytest.raises(ValueError, match="too few"):
        custom_task(small(), validation=tuple(one[:20] for one in rows(1)), test=rows(2), name="refused")
    with pytest.raises(ValueError, match="another task called 'refused' was made since"):
        joulemark.benchmark(first)


def test_a_metric_of_ones_own_is_known_by_the_tasks_label_only():
    always = dataclasses.replace(metric("accuracy"), name="accuracy", title="mine")
    task = given("measured", metric=always)
    assert task.task.metric == "user/measured"
    assert (metric("user/measured").title, metric("accuracy").title) == ("mine", "accuracy")
