"""What is said of a user's own task: whose net the baseline is, and every warning; of our tasks nothing."""

from __future__ import annotations

import msgspec
import numpy as np
from synthetic import make_results

from joulemark.judging.truths import truth_record
from joulemark.report.own_task import own_sentences
from joulemark.report.page import render_page
from joulemark.task import Own


def own_results(**fields):
    return msgspec.structs.replace(make_results(), own=Own(net="0" * 16, **fields))


def test_a_task_of_ours_says_nothing():
    assert own_sentences(make_results()) == []


def test_warnings_are_sentences_behind_the_one_on_the_net():
    first, second = own_sentences(own_results(warnings=("3 % of the rows of test() are in train() as well",)))
    assert "given" in first and "not known" in first
    assert second == "3 % of the rows of test() are in train() as well."


def test_results_of_live_objects_say_that_nobody_uses_them_again():
    (sentence,) = own_sentences(own_results(isolated=False))
    assert "no other session" in sentence
    assert "no other session" not in own_sentences(own_results())[0]


def test_the_page_shows_them_escaped():
    page = render_page(own_results(warnings=("<script>alert(1)</script> is in train()",)))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; is in train()." in page
    assert "<script>alert(1)" not in page.partition("Your own task")[2][:2000]


def test_groups_are_told_with_their_number_in_each_split():
    truths = {
        split: truth_record("t", "k", split, np.arange(3) % 2, classes=2, groups=np.array(groups))
        for split, groups in {"validation": ["anna", "anna", "bo"], "test": ["cy", "di", "ed"]}.items()
    }
    assert own_sentences(msgspec.structs.replace(own_results(), truths=truths))[1] == (
        "Rows come in groups, 2 in validation and 3 in test: losses are bounded over groups, not over rows."
    )
