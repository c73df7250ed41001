"""A user's functions as the rest calls them: what they give is looked at, what they raise is one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_suite

from joulemark.benchmarking.own_functions import loss_and_augment, prepare_by
from joulemark.data.own import own_data
from joulemark.data.own.own_data import OwnData, hold
from joulemark.task import Own, Task
from joulemark.training import AUGMENTS, cross_entropy

RAW = np.arange(48, dtype=np.uint8).reshape(4, 1, 3, 4)
OUTPUTS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0])


def own_task(**functions) -> Task:
    import msgspec

    hold("user/t", OwnData({}, prepare_by(None), **functions))
    return msgspec.structs.replace(tiny_suite().task, data="user/t", own=Own(net="n"))


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(own_data, "_held", {})


def test_inputs_are_prepared_by_the_user_or_taken_as_they_are():
    for preprocess, expected in ((None, RAW), (lambda batch: batch.double() / 2, RAW / 2)):
        found = prepare_by(preprocess)(RAW)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected.astype(np.float32))
    np.testing.assert_array_equal(prepare_by(lambda batch: batch.permute(0, 1, 3, 2))(RAW), RAW.transpose(0, 1, 3, 2))


def test_a_preprocess_that_writes_into_its_batch_leaves_the_data_alone():
    kept = RAW.copy()
    prepare_by(lambda batch: batch.zero_())(RAW)
    np.testing.assert_array_equal(RAW, kept)
    RAW.flags.writeable = False
    assert prepare_by(lambda batch: batch.add_(1))(RAW)[0, 0, 0, 0] == 1
    RAW.flags.writeable = True


@pytest.mark.parametrize(
    ("preprocess", "said"),
    [
        (lambda batch: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda batch: batch.numpy(), "gave a ndarray, not a tensor"),
        (lambda batch: batch[:2], r"made \[2, 1, 3, 4\] of a batch of \[4, 1, 3, 4\]"),
        (lambda batch: batch.sum(), r"made \[\] of a batch"),
        (lambda batch: batch / 0, "gave NaN or infinity"),
        (lambda batch: batch * 1j, "inputs are numbers"),
        (lambda batch: batch.float().flatten(1).to_sparse(), "cannot be read as an array"),
    ],
)
def test_a_preprocess_that_is_wrong_gets_one_sentence(preprocess, said):
    with pytest.raises(ValueError, match=rf"preprocess\(batch\) {said}|preprocess\(batch\) gave .*{said}"):
        prepare_by(preprocess)(RAW)


def test_a_task_of_ours_has_the_loss_and_the_augment_of_its_recipe():
    task = tiny_suite().task
    assert loss_and_augment(task) == (cross_entropy, AUGMENTS[task.recipe.augment])


def test_a_users_task_has_them_too_where_he_gives_none():
    assert loss_and_augment(own_task()) == (cross_entropy, AUGMENTS["none"])


def test_a_users_loss_and_augment_are_called():
    def mean_square(outputs, labels):
        return (outputs - torch.nn.functional.one_hot(labels, 4)).square().mean(0, keepdim=True).sum(1)

    def flip(batch, generator):
        return batch.flip(1)

    loss, augment = loss_and_augment(own_task(loss=mean_square, augment=flip))
    module = torch.nn.Linear(4, 4)
    value = loss(module, OUTPUTS, LABELS)
    assert value.shape == ()
    expected = torch.nn.functional.mse_loss(module(OUTPUTS), torch.eye(4)[LABELS]) * 4
    torch.testing.assert_close(value, expected)
    value.backward()
    assert module.weight.grad.count_nonzero()
    assert torch.equal(augment(OUTPUTS, torch.Generator()), OUTPUTS.flip(1))


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (lambda outputs, labels: outputs.sum(1), r"gave a tensor of shape \[5\]: it is one number"),
        (
            lambda outputs, labels: torch.zeros(()),
            r"gave a tensor of shape \[\] without a gradient: it is one number that depends",
        ),
        (lambda outputs, labels: 1.5, "gave a float, not a tensor"),
        (lambda outputs: outputs, "raised TypeError"),
    ],
)
def test_a_loss_that_is_wrong_gets_one_sentence(own, said):
    loss, _ = loss_and_augment(own_task(loss=own))
    with pytest.raises(ValueError, match=rf"loss\(outputs, labels\) {said}"):
        loss(torch.nn.Linear(4, 4), OUTPUTS, LABELS)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (lambda batch, generator: batch[:, :2], r"made float32 \[5, 2\] of a batch of float32 \[5, 4\]: keep shape"),
        (lambda batch, generator: batch.double(), r"made float64 \[5, 4\] of a batch of float32 \[5, 4\]"),
        (lambda batch, generator: None, "gave a NoneType, not a tensor"),
        (lambda batch: batch, "raised TypeError"),
    ],
)
def test_an_augment_that_is_wrong_gets_one_sentence(own, said):
    _, augment = loss_and_augment(own_task(augment=own))
    with pytest.raises(ValueError, match=rf"augment\(batch, generator\) {said}"):
        augment(OUTPUTS, torch.Generator())
