"""What the checks train and ask: classes that can be told apart, for inputs of any shape."""

import numpy as np
import pytest

from joulemark import testing


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 7, 9), (4, 50), (1, 4, 5, 6)])
def test_inputs_have_the_shape_asked_for_and_classes_differ(shape):
    made = testing.generated(testing.generated_task("lenet", input_shape=shape))
    assert sorted(made) == ["policy", "train", "validation"]  # no test split
    train, validation = made["train"], made["validation"]
    assert (train.images.shape, train.images.dtype) == ((300, *shape), np.float32)
    means = np.stack([train.images[train.labels == label].mean(0) for label in range(10)])
    distances = np.square(validation.images[:, None] - means).reshape(100, 10, -1).sum(2)
    assert (distances.argmin(1) == validation.labels).mean() > 0.3  # chance is 0.1


def test_it_is_generated_once_and_the_same_for_all_nets_of_a_shape():
    first = testing.generated(testing.generated_task("resnet20"))
    assert testing.generated(testing.generated_task("convnet", {"width": 0.5})) is first


def test_a_task_for_another_net():
    task = testing.generated_task("resnet20", {"width": 0.5})
    assert (task.input_shape, task.recipe.builder, task.recipe.options) == ((3, 32, 32), "resnet20", {"width": 0.5})
    assert len(task.mean) == len(task.deviation) == 3
    assert task.key != testing.TASK.key


def test_an_unknown_net_is_refused_offering_the_nearest():
    with pytest.raises(ValueError, match="unknown builder 'resnet2': did you mean 'resnet"):
        testing.generated_task("resnet2")


def test_a_net_of_no_usual_shape_needs_one(monkeypatch):
    monkeypatch.setattr("joulemark.testing.example.usual_input_shape", lambda builder: None)
    with pytest.raises(ValueError, match=r"^the builder 'lenet' has no usual input shape: say input_shape="):
        testing.generated_task("lenet")


def test_a_baseline_is_trained_once_a_task_and_has_learnt():
    import torch

    net = testing.baseline()
    assert testing.baseline() is net
    validation = testing.generated()["validation"]
    right = net.module()(torch.from_numpy(validation.images)).argmax(1).numpy() == validation.labels
    assert right.mean() > 0.5


@pytest.mark.parametrize(("options", "classes"), [({}, 10), ({"classes": 3}, 3), ({"classes": 40}, 40)])
def test_a_task_has_the_classes_of_its_net(options, classes):
    task = testing.generated_task("lenet", options)
    assert task.classes == classes
    assert set(testing.generated(task)["train"].labels.tolist()) == set(range(classes))
