"""Knobs as people read them: those of a technique plainly, those of a chain by the names of its links."""

from __future__ import annotations

import pytest

from joulemark.report.words import knobs, with_knobs


@pytest.mark.parametrize(
    ("technique", "settings", "text"),
    [
        ("int8", ({"images": 256},), "images 256"),
        ("small-dense", ({"width": 0.30000000000000004, "round_to": 4},), "width 0.3, round to 4"),
        ("mine:strength=1e+20", ({"strength": 1e20},), "strength 1e+20"),
        ("plain", ({},), ""),
        ("baseline", (), ""),
        ("magnitude+int8", ({"sparsity": 0.5}, {"images": 8}), "magnitude.sparsity 0.5, int8.images 8"),
        ("a+a", ({"x": 1}, {"x": 1}), "a.x 1"),
        ("a+a", ({"x": 1}, {"x": 2}), "a.1.x 1, a.2.x 2"),
        ("a+b+a+a", ({"x": 1}, {}, {"x": 2}, {"x": 1}), "a.1.x 1, a.3.x 2, a.4.x 1"),
        ("a:x=0+a:x=0.5", ({"x": 0}, {"x": 0.5}), "a:x=0.x 0, a:x=0.5.x 0.5"),
        ("a", ({"x": 1}, {"x": 2}), "a.1.x 1, a.2.x 2"),  # a record that was edited is still drawn
    ],
)
def test_knobs_are_written_with_the_names_of_a_chain(technique, settings, text):
    assert knobs(technique, settings) == text
    assert with_knobs(technique, settings) == (f"{technique}\n{text}" if text else technique)
