"""`joulemark compare` as a person or a script meets it."""

import json
import subprocess
import sys

import pytest
from stored import fill
from synthetic import FAST

from joulemark.benchmarking.suite_files import load_suite


@pytest.fixture
def results(tmp_path):
    """Made-up results where those of the suite `quick` would be."""
    task = load_suite("quick").task
    fill(tmp_path, task=f"{task.name}-{task.key[:8]}")
    fill(tmp_path, task="digits-89abcdef", techniques=["binary-weights"])
    fill(tmp_path, hardware="other-cpu", task="digits-89abcdef", techniques=["squeezenet"])
    return tmp_path


def compare(results, *words):
    command = [sys.executable, "-m", "joulemark.cli", "compare", *words, "--results", str(results)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_verdict_is_one_sentence_or_json(results):
    said = compare(results, FAST.technique, "baseline")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("On MNIST digits, 5,000 images, toy-cpu: `conditional-deep-learning` is 2.00x faster")
    answer = json.loads(compare(results, FAST.technique, "baseline", "--limit", "2", "--json").stdout)
    assert (answer["verdict"], answer["sentence"]) == ("cheaper", said.stdout.strip())
    assert answer["ratio"]["value"] == pytest.approx(2.0)


def test_no_verdict_is_an_answer_too(results):
    done = compare(results, FAST.technique, "unstructured-pruning")
    assert done.returncode == 0
    assert "simulated: no kernel skips unstructured zeros" in done.stdout


@pytest.mark.parametrize("name", ["int8", "magnitude", "small-dense+int8:images=64"])
def test_a_technique_that_was_not_run_yet_is_no_mistake(results, name):
    fill(results, hardware="toy-cpu", task="digits-89abcdef", suite="digits", techniques=["int8"])
    # The study names int8, though no attempt of it finished: that is no result.
    done = compare(results, FAST.technique, name, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["ratio"]) == ("none", None)
    assert answer["reason"] == f"`{name}` was not run yet: `joulemark run quick -t {name}`."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["conditional-deep-learnin", "baseline"], "did you mean 'conditional-deep-learning'"),
        (["baseline", "baseline"], "are the same technique"),
        (["baseline", FAST.technique, "--board", "second"], "did you mean 'seconds'"),
        (["baseline", FAST.technique, "--limit", "1"], "the suite's limits are 2"),
        (["baseline", FAST.technique, "--suite", "quik"], "did you mean 'quick'"),
        (["baseline", FAST.technique, "--hardware", "toy"], "did you mean 'toy-cpu'"),
    ],
)
def test_bad_input_gets_one_sentence(results, words, sentence):
    done = compare(results, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
