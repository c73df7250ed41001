"""Suites: the shipped one is right, and bad ones are refused with the field's name."""

import pytest
from suite_text import whole_text

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.suite_files import SuiteError, load_suite, parse_suite
from joulemark.techniques.technique import TechniqueError

QUICK = whole_text("quick")


def test_quick_is_what_the_readme_says():
    suite = load_suite("quick")
    splits = suite.task.splits
    assert (splits.train, splits.policy, splits.validation, splits.test) == (2500, 500, 1000, 1000)
    assert suite.task.recipe.builder == "lenet"
    assert set(suite.techniques) == {
        "small-dense",
        "magnitude",
        "int8",
        "optimal-brain-damage",
        "conditional-deep-learning",
    }


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [0, 1]", "seeds = []", "length >= 1"),
        ("seeds = [0, 1]", "seeds = [-1]", ">= 0"),
        ('models = ["row-stationary"]', "models = []", "length >= 1"),
        ("mean = [0.1307]", "mean = []", "one entry for each of the 1 channels"),
        ("deviation = [0.3081]", "deviation = [0.0]", "deviation must be greater than 0"),
        ("input_shape = [1, 28, 28]", "input_shape = [1, 0]", "at least 1"),
        ("blocks = 40", "blocks = 2", ">= 3"),
        ("threads = 1", "threads = 1\ncolour = 2", "unknown field `colour`"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds says 0 twice"),
        ("batch_sizes = [1, 64]", "batch_sizes = [64, 1, 64]", "batch_sizes says 64 twice"),
        ('techniques = ["small-dense",', 'techniques = ["int8",', "techniques says 'int8' twice"),
        ("images = 250", "images = 250\npaced = [30.0, 30.0]", "measuring.paced says 30.0 twice"),
        ("images = 250", "images = 250\npaced = [1e-300]", ">= 0.001"),
        ("learning_rate = 0.02", "learning_rate = inf", "<= 1000000.0"),
        ("deviation = [0.3081]", "deviation = [nan]", "deviation must be greater than 0"),
        ("mean = [0.1307]", "mean = [nan]", "mean must be from"),
        ("window_seconds = 0.03\n", "window_seconds = inf\n", "<= 3600.0"),
        ('name = "quick"', 'name = "../../evil"', "name '../../evil' must be 1 to 64 letters"),
        ('name = "mnist-5k"', 'name = "../../../evil"', "name '../../../evil' must be 1 to 64 letters"),
        ('name = "mnist-5k"', 'name = "a\\u0000b"', "must be 1 to 64 letters"),
        ('name = "quick"', f'name = "{"a" * 300}"', "must be 1 to 64 letters"),
        ('name = "quick"', 'name = ".hidden"', "not begin with '.'"),
        (
            "scratch_epochs = 9",
            "scratch_epochs = 10",
            "unequal budgets: 18 epochs from the trained net, 20 from scratch",
        ),
        ("limits_points = [2.0]", 'limits_points = ["two"]', "Expected `float`"),
        ("[budget]", "[budget", "quick.toml"),
    ],
)
def test_a_bad_suite_is_refused_with_the_place(old, new, words):
    assert old in QUICK
    with pytest.raises(SuiteError) as caught:
        parse_suite(QUICK.replace(old, new), where="quick.toml")
    assert words in str(caught.value)


def test_a_knob_that_is_set_twice_is_one_sentence():
    with pytest.raises(TechniqueError, match="sparsity is set twice"):
        chains_of(["magnitude:sparsity=0.9,sparsity=0.5"])


def test_one_setting_written_in_two_ways_is_one_sentence():
    with pytest.raises(TechniqueError, match=r"sparsity=0\.90 is magnitude:sparsity=0\.9 once more"):
        chains_of(["magnitude:sparsity=0.9", "magnitude:sparsity=0.90"])
    with pytest.raises(TechniqueError, match="once more"):
        chains_of(["magnitude:rounds=2,scope=layer", "magnitude:scope=layer,rounds=2"])
