"""What may be wrong with a user's task file: each gets one sentence, exit code 2 and no traceback."""

from __future__ import annotations

import json

import pytest
from own_files import own_file

pytestmark = pytest.mark.usefixtures("own_registrations")


def net_with(body: str) -> str:
    """A net whose forward pass is ``body``; ``outputs`` are those of the good one."""
    return (
        "\ngood = net\nclass Odd(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.inner = good()\n    def forward(self, x):\n        outputs = self.inner(x)\n"
        f"        return {body}\ndef net():\n    return Odd()\n"
    )


NETS = {
    "raises": (
        "def net(): raise RuntimeError('no weights')",
        "joulemark: net() of mine.py raised RuntimeError: no weights\n",
    ),
    "raises nothing": ("def net(): raise KeyError", "joulemark: net() of mine.py raised KeyError\n"),
    "no module": ("def net(): return 7", "net() of mine.py gave a int, not a torch module"),
    "no return": ("def net(): pass", "net() of mine.py gave a NoneType, not a torch module"),
    "class": ("def net(): return nn.ReLU", "net() of mine.py gave a type, not a torch module"),
    "no parameters": ("def net(): return nn.Flatten()", "net() gave a module without parameters"),
    "tuple": (net_with("(outputs, x)"), "net() answers with a tuple, not a tensor: wrap it in a module"),
    "one number": (net_with("outputs[:, 0]"), "with a tensor of shape [8]: it should be one number a class"),
    "too few rows": (net_with("outputs[:3]"), "answers 8 inputs with a tensor of shape [3, 4]"),
    "NaN": (net_with("outputs / 0 - outputs / 0"), "net() answers real inputs with NaN or infinity"),
    "random": (
        net_with("nn.functional.dropout(outputs, 0.5, training=True)"),
        "net() answers the same inputs with other numbers each time",
    ),
    "fails": (net_with("outputs.nowhere"), "on inputs of shape [1, 8, 8], raised AttributeError"),
    "float64": ("good = net\ndef net(): return good().double()", "gave 0.weight in float64: end net() with .float()"),
    "half": ("good = net\ndef net(): return good().bfloat16()", "in bfloat16: end net() with .float()"),
    "meta": ("good = net\ndef net(): return good().to('meta')", "gave a module on meta"),
    "lazy": ("def net(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))", "1.weight has no shape yet"),
    "no copy": (
        "good = net\ndef net():\n    one = good()\n    one.lock = __import__('threading').Lock()\n    return one",
        "cannot be copied (TypeError: cannot pickle '_thread.lock' object): hold nothing in it but layers",
    ),
    "pickle": ("def net(): return 'weights.pth'", "which may be a pickle: build the module in net() and load it there"),
    "other file": ("def net(): return 'net.h5'", "give a module, an .onnx file or a net that Joulemark saved"),
    "no file": ("def net(): return 'net.safetensors'", "cannot be read: No such file"),
    "three classes": (net_with("outputs[:, :3]"), "train() gives the label 3, and net() has 3 outputs"),
}


@pytest.mark.parametrize("case", NETS)
def test_a_net_that_is_none(refused, tmp_path, case):
    more, said = NETS[case]
    own_file(tmp_path, more)
    assert said in refused("run", "mine.py", "--dry-run")


def test_weights_alone_are_loaded_in_net(refused, tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "weights.safetensors")
    own_file(tmp_path, "def net(): return 'weights.safetensors'")
    assert "weights alone are loaded in net(), by module.load_state_dict" in refused("run", "mine.py")


DATA = {
    "raises": ("def test(): raise OSError('disk gone')", "mine.py: test() raised OSError: disk gone"),
    "exits": ("def test(): raise SystemExit(1)", "test() raised SystemExit: 1"),
    "wants something": ("def test(path): return 1", "test() raised TypeError: test() missing 1 required"),
    "nothing": ("def test(): pass", "test() gave nothing (does it lack a return?)"),
    "no folder": ("def test(): return 'nowhere'", "test() gave 'nowhere', and there is no such folder"),
    "empty": ("def test(): return pictures(3, 0)", "test() gave no rows"),
    "other shape": ("def test():\n    x, y = pictures(3, 9)\n    return x[..., :4], y", "give one shape"),
    "NaN": ("def test():\n    x, y = pictures(3, 9)\n    x[4] = np.nan\n    return x, y", "row 4 of test() holds NaN"),
    "labels out of range": (
        "def test():\n    x, y = pictures(3, 9)\n    return x, y + 1",
        "gives the label 4, and net()",
    ),
    "strings": ("def test():\n    x, y = pictures(3, 9)\n    return x, y.astype(str)", "number the classes from 0"),
    "endless": (
        "rows = 500\ndef train():\n    while True:\n        yield pictures(1, 100)",
        "train() gave more than 500 rows and did not end: if there are more, say how many",
    ),
    "some labels": ("def test(): return pictures(3, 300)[0]", "train() gives labels and test() gives none"),
    "same rows": ("def test(): return pictures(2, 300)", "100 % of the rows of test() are in validation() as well"),
    "too few": ("def validation(): return pictures(2, 100)", "100 validation rows are too few for a limit of 1 point:"),
    "random": (
        "class Noisy:\n    def __len__(self): return 300\n    def __getitem__(self, row):\n"
        "        return torch.randn(1, 8, 8), row % 4\ndef validation(): return Noisy()",
        "validation() gives other inputs each time it is read: leave random changes out of it",
    ),
    "weighted": (
        "from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler\ndef train():\n"
        "    data = TensorDataset(*map(torch.from_numpy, pictures(1, 100)))\n"
        "    return DataLoader(data, 8, sampler=WeightedRandomSampler([1.0] * 100, 50))",
        "the sampler of train() draws rows more than once",
    ),
    "dictionaries": ("def test(): return [dict(image=1, label=2)]", "row 0 of test() is a dictionary of image, label"),
    "preprocess raises": ("def preprocess(batch): return batch.nowhere", "preprocess(batch) raised AttributeError"),
    "preprocess gives none": ("def preprocess(batch): return 3", "preprocess(batch) gave a int, not a tensor"),
    "preprocess drops rows": (
        "def preprocess(batch): return batch[:1]",
        "made [1, 1, 8, 8] of a batch of [8, 1, 8, 8]",
    ),
    "preprocess sums": ("def preprocess(batch): return batch.sum()", "preprocess(batch) made [] of a batch"),
    "augment raises": (
        "def augment(batch, generator): raise KeyError('k')",
        "augment(batch, generator) raised KeyError",
    ),
    "loss without a gradient": (
        "def loss(outputs, labels): return outputs.detach().sum()",
        "without a gradient: it is",
    ),
    "one group": (
        "def validation():\n    x, y = pictures(2, 500)\n    return x, y, ['anna'] * 500",
        "500 validation rows in 1 group are too few for a limit of 1 point",
    ),
    "no group": (
        "def test():\n    x, y = pictures(2, 3)\n    return x, y, ['anna', None, 'bo']",
        "test() gave the group None (its row 1): name the group of each row",
    ),
    "too large": (
        "def test():\n    x, y = pictures(3, 9)\n    return x.astype(float) * 1e300, y",
        "a number too large for float32",
    ),
    "preprocess divides by 0": ("def preprocess(batch): return batch / 0", "preprocess(batch) gave NaN or infinity"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_are_none(refused, tmp_path, case):
    more, said = DATA[case]
    own_file(tmp_path, more)
    assert said in refused("run", "mine.py", "--dry-run")


VALUES = {
    "title": ("title = ''", "title = '' should be a text of 1 to 120 letters"),
    "long title": ("title = 'a' * 121", "should be a text of 1 to 120 letters"),
    "title of another kind": ("title = 7", "title = 7 should be a text"),
    "metric": ("metric = 'acuracy'", "did you mean 'accuracy'"),
    "metric of another kind": ("metric = 5", "metric is a int: give the name of one"),
    "recipe": ("recipe = 7", "recipe is a int: give dict(epochs=..."),
    "recipe field": ("recipe = dict(epoch=1)", "recipe: unknown field 'epoch': did you mean 'epochs'"),
    "recipe value": ("recipe = dict(epochs=-1, batch_size=1, learning_rate=1)", "recipe: Expected `int` >= 1"),
    "suite": ("suite = 7", "suite is a int: give dict(seeds=[0, 1])"),
    "suite field": ("suite = dict(seed=1)", "suite: unknown field 'seed': did you mean 'seeds'"),
    "suite value": ("suite = dict(seeds='a')", "suite: Expected `array`, got `str` - at `$.seeds`"),
    "budget": ("suite = dict(budget=7)", "suite: Expected `object`, got `int` - at `$.budget`"),
    "technique": ("suite = dict(techniques=['int9'])", "did you mean 'int8'"),
    "backend": ("suite = dict(backends=['eagre'])", "did you mean 'eager'"),
    "net": ("net = 5", "net is a int, and should be a function"),
    "rows": ("rows = 'many'", "rows = 'many' should be the most rows that a split may have"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_are_none(refused, tmp_path, case):
    more, said = VALUES[case]
    own_file(tmp_path, more)
    assert said in refused("run", "mine.py", "--dry-run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def net(:\n", "mine.py cannot be read: SyntaxError"),
        ("raise SystemExit(0)\n", "mine.py cannot be read: SystemExit: 0"),
        ("import nowhere\n", "mine.py cannot be read: ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\n", "mine.py has no net(): write it (`joulemark init example.py` shows how)"),
        ("\x00", "mine.py cannot be read"),
    ],
)
def test_a_file_that_is_no_task(refused, tmp_path, text, said):
    (tmp_path / "mine.py").write_text(text)
    assert said in refused("run", "mine.py")


@pytest.mark.parametrize("name", ["validation", "test"])
def test_what_is_missing_is_named(refused, tmp_path, name):
    own_file(tmp_path, without=name)
    assert f"mine.py has no {name}(): write it" in refused("run", "mine.py")


@pytest.mark.parametrize("words", [["run"], ["free"]])
def test_a_file_that_is_not_there(refused, words):
    assert "there is no task file nowhere.py: `joulemark init nowhere.py` writes one" in refused(*words, "nowhere.py")


def test_results_that_are_not_there(refused):
    for words in (["board"], ["report"], ["board", "--limit", "0.5"]):
        assert "there are no results of nowhere.py" in refused(*words, "nowhere.py")


def test_too_few_rows_say_how_many_are_needed_and_what_limit_these_can_show(joulemark, refused, tmp_path):
    own_file(tmp_path, "def validation(): return pictures(2, 100)")
    told = refused("run", "mine.py", "--dry-run")
    rows, limit = told.split("Give ")[1].split()[0], told.split("a limit of ")[2].strip()
    assert joulemark("run", "mine.py", "--dry-run", "--limit", limit)[0] == 0
    own_file(tmp_path, f"def validation(): return pictures(2, {rows.replace(',', '')})", name="more.py")
    assert joulemark("run", "more.py", "--dry-run")[0] == 0


WARNED = {
    "missing class": (
        "def validation():\n    x, y = pictures(2, 400)\n    return x[y != 2], y[y != 2]",
        "validation() has no row of class 2: nothing is known there",
    ),
    "shared rows": (
        "def test():\n    x, y = pictures(3, 300)\n    x[:30] = pictures(1, 100)[0][:30]\n    return x, y",
        "10 % of the rows of test() are in train() as well",
    ),
    "random train": (
        "class Noisy:\n    def __len__(self): return 100\n    def __getitem__(self, row):\n"
        "        return torch.randn(1, 8, 8), row % 4\ndef train(): return Noisy()",
        "train() gives other inputs each time it is read: one draw is kept; move what is random to augment",
    ),
    "no labels": (
        "def train(): return pictures(1, 100)[0]\ndef validation(): return pictures(2, 300)[0]\n"
        "def test(): return pictures(3, 300)[0]",
        "rows have no labels: what is lost is counted as disagreement with the original net",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_is_odd_and_can_be_used_is_said(joulemark, tmp_path, case):
    more, said = WARNED[case]
    own_file(tmp_path, more)
    code, _, err = joulemark("run", "mine.py", "--dry-run")
    assert code == 0
    assert err.startswith(f"joulemark: mine.py: {said}")


def test_what_a_task_file_prints_is_no_json(joulemark, tmp_path):
    body = net_with("(print('of forward'), outputs)[1]")
    said = "def preprocess(batch):\n    print('of preprocess')\n    return batch\n"
    own_file(
        tmp_path, f"print('of the file')\n{body}{said}made = test\ndef test():\n    print('of test')\n    return made()"
    )
    code, out, err = joulemark("run", "mine.py", "--dry-run", "--json")
    assert code == 0, err
    assert all(isinstance(line, str) for line in json.loads(out))
    for place in ("the file", "forward", "preprocess", "test"):
        assert f"of {place}\n" in err


def test_what_is_refused_is_told_a_script_too(joulemark, tmp_path):
    own_file(tmp_path, "def test(): return print('hello')")
    code, out, err = joulemark("run", "mine.py", "--json")
    assert code == 2
    assert (
        json.loads(out)["error"] == "mine.py: test() gave nothing (does it lack a return?): give (inputs, labels) "
        "as arrays, a torch Dataset or DataLoader, an iterable of batches, or the path of a folder of pictures"
    )
    assert err.startswith("hello\njoulemark: mine.py: test() gave nothing")
