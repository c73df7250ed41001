"""Settings of a study are restated where all its commits had the suite of today, and nowhere else."""

from __future__ import annotations

import msgspec
import pytest

from joulemark.benchmarking.study_settings import filled_models, opened_models, study_settings
from joulemark.benchmarking.suite_files import load_suite, shipped_suites
from joulemark.migrating.studies import restated

QUICK = shipped_suites()["quick"].encode()


class Commits:
    """A history of some commits: the text of the suite in each, ``None`` where it is not there."""

    def __init__(self, **texts: bytes | None) -> None:
        self.texts = texts

    def file(self, commit, name):
        assert name.startswith("suites/")
        return self.texts.get(commit)


@pytest.fixture
def study(tmp_path):
    """Writes a study with a row of each commit; its values and where it lies."""

    def make(*commits: str, key: str = "quick"):
        folder = tmp_path / "some-cpu" / "mnist-5k-aa"
        for number, commit in enumerate(commits):
            path = folder / "attempts" / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode({"provenance": {"commit": commit}}))
        keys = [str(number) for number in range(len(commits))]
        stated = {
            "key": key,
            "settings": "of all code",
            "baselines": keys[:1],
            "attempts": {"int8": keys[1:]},
            "trials": [],
        }
        return stated, folder / "studies" / f"{key}.json"

    return make


def today() -> str:
    suite = load_suite("quick")
    return study_settings(suite, filled_models(suite.models, opened_models(suite)), "some-cpu", [])


def test_the_same_suite_at_every_commit_gives_the_settings_of_today(study):
    stated, path = study("aaaaaaa", "bbbbbbb")
    found = restated(stated, path, Commits(aaaaaaa=QUICK, bbbbbbb=QUICK))
    assert found == {**stated, "settings": today()}
    other = QUICK.replace(b"techniques = [", b"techniques = ['two-four', ", 1)  # which no two studies have to share
    assert other != QUICK
    assert restated(stated, path, Commits(aaaaaaa=QUICK, bbbbbbb=other))["settings"] == today()


@pytest.mark.parametrize(
    "second",
    [None, b"no suite", QUICK.replace(b"blocks = 40", b"blocks = 41")],
    ids=["not known", "no suite", "other settings"],
)
def test_one_commit_that_says_otherwise_or_nothing_leaves_it_as_it_is(study, second):
    assert second != QUICK
    stated, path = study("aaaaaaa", "bbbbbbb")
    assert restated(stated, path, Commits(aaaaaaa=QUICK, bbbbbbb=second)) == stated


def test_a_study_without_rows_of_an_unknown_suite_or_of_a_model_of_a_machine_stays(study):
    stated, path = study()
    assert restated(stated, path, Commits()) == stated
    for key in ("nobodys", "cifar10-alexnet-device"):
        stated, path = study("aaaaaaa", key=key)
        text = shipped_suites().get(key, "").encode()
        assert restated(stated, path, Commits(aaaaaaa=text)) == stated
