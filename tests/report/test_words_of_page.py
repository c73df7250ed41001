"""What the page and the headline say, held against the words lint."""

from __future__ import annotations

from synthetic import make_results, with_joules

from joulemark.check.claims import unbacked
from joulemark.check.prose import visible_words
from joulemark.report.page import render_page


def test_a_page_without_counters_claims_no_energy():
    words = visible_words(render_page(make_results()))
    assert "Joules of this machine: no counter was read." in words  # the words were really read
    assert unbacked(words, {}) == []


def test_a_page_with_counters_says_measured_joules_and_leaves_the_rest_to_the_reader():
    words = visible_words(render_page(with_joules(make_results())))
    assert "fewer measured joules" in words
    assert unbacked(words, {}) == []


def test_a_bad_sentence_in_a_page_would_be_caught():
    page = render_page(make_results()).replace("<footer>", "<footer><p>It saves energy.</p>")
    assert [one.sentence for one in unbacked(visible_words(page), {})] == ["It saves energy."]
