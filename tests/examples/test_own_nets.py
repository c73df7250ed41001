"""The nets of examples/own_nets score what their README states, on rows that no other split holds."""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

FOLDER = Path(__file__).parents[2] / "examples" / "own_nets"
DATA = Path(os.environ.get("JOULEMARK_DATA") or "nowhere")
NEEDS = {  # a package, and a folder of data
    "digits": ("digit_recognizer", "MNIST"),
    "motion": ("seglearn", ""),
    "mobile": ("torch", "FashionMNIST"),
    "se_residual": ("torch", "cifar-10-batches-bin"),
}


@pytest.fixture(params=NEEDS)
def task(request):
    package, data = NEEDS[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if data and not (DATA / data).is_dir():
        pytest.skip(f"JOULEMARK_DATA holds no {data}")
    spec = importlib.util.spec_from_file_location(request.param, FOLDER / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pairs(source):
    """Inputs and labels of arrays, of a Dataset row by row, or of a DataLoader batch by batch."""
    if isinstance(source, tuple):
        return torch.from_numpy(np.array(source[0])), np.array(source[1])
    if isinstance(source, torch.utils.data.DataLoader):
        inputs, labels = zip(*source, strict=True)
        return torch.cat(inputs), torch.cat(labels).numpy()
    inputs, labels = zip(*(source[row] for row in range(len(source))), strict=True)
    return torch.stack(inputs), np.array(labels)


def stated_percent(name):
    row = next(line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith(f"| `{name}.py`"))
    parameters, score = row.split(" | ")[3:5]
    return int(parameters.replace(",", "")), float(re.search(r"([\d.]+) %", score)[1])


def test_a_fifth_of_the_test_rows_scores_about_what_is_stated(task):
    parameters, percent = stated_percent(task.__name__)
    module = task.net()
    assert not module.training
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    inputs, labels = pairs(task.test())
    with torch.inference_mode():
        predicted = torch.cat([module(task.preprocess(batch)).argmax(1) for batch in inputs[::5].split(500)]).numpy()
    if getattr(task, "metric", "accuracy") == "weighted-f1":
        score = f1_score(labels[::5], predicted, average="weighted")
    else:
        score = accuracy_score(labels[::5], predicted)
    assert 100 * score == pytest.approx(percent, abs=3)  # three standard errors of 2,000 rows at most


def test_no_row_and_no_group_is_in_two_splits(task):
    sources = [task.train(), task.validation(), task.test()]
    rows = [{row.tobytes() for row in pairs(source)[0].numpy()} for source in sources]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not rows[first] & rows[second]
        if isinstance(sources[0], tuple) and len(sources[0]) == 3:
            assert not {*sources[first][2]} & {*sources[second][2]}


def test_augment_is_drawn_from_its_generator_alone(task):
    if not hasattr(task, "augment"):
        pytest.skip("it has no augment")
    batch = task.preprocess(pairs(task.validation())[0][:8])
    first, again, other = (task.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == batch.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
