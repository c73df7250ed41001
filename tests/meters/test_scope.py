"""Which scopes hold which, against a list written by hand, and the words for them."""

from __future__ import annotations

import pytest

from joulemark.meters.scope import contains, overlap, refuse_overlap, title

PACKAGE = "wall/platform/package-1"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("wall", "wall"),
        ("wall", "wall/board-GPU-aa"),
        ("wall", PACKAGE),
        ("wall/platform", "wall/platform/dram-0"),
        (PACKAGE, f"{PACKAGE}/core"),
        (PACKAGE, f"{PACKAGE}/die-1/core"),
        ("wall/module-0", "wall/module-0/grace/cpu"),
    ],
)
def test_the_outer_contains_the_inner_and_not_the_other_way(outer: str, inner: str) -> None:
    assert contains(outer, inner)
    assert contains(inner, outer) == (outer == inner)
    assert overlap(outer, inner)
    assert overlap(inner, outer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PACKAGE, "wall/platform/package-10"),  # a prefix of letters is no part
        (PACKAGE, "wall/platform/package-0/core"),
        (PACKAGE, "wall/platform/dram-1"),
        (f"{PACKAGE}/die-0", f"{PACKAGE}/die-1"),
        ("wall/platform", "wall/board-GPU-aa"),
        ("wall/module-0", "wall/module-1"),
        ("wall/module-0/grace", "wall/module-1"),
    ],
)
def test_disjoint_scopes_may_be_added(one: str, other: str) -> None:
    assert not overlap(one, other)
    assert not overlap(other, one)
    refuse_overlap([one, other])


@pytest.mark.parametrize("other", ["wall/board-GPU-aa", PACKAGE, "wall/platform"])
def test_a_module_may_hold_any_board_or_processor(other: str) -> None:
    assert overlap("wall/module-0", other)
    assert overlap(other, "wall/module-0")


def test_an_overlap_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"processor package-1 \(.*\) and processor package-1 core \(.*\) overlap"):
        refuse_overlap(["wall/board-GPU-aa", PACKAGE, f"{PACKAGE}/core"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("wall", "wall"),
        ("wall/platform", "platform psys"),
        ("wall/platform/package-0", "processor package-0"),
        ("wall/platform/package-0/die-1", "processor package-0-die-1"),
        ("wall/platform/package-0/uncore", "processor package-0 uncore"),
        ("wall/platform/dram-1", "memory dram-1"),
        ("wall/module-0", "module-0"),
        ("wall/module-0/grace/cpu", "module-0 grace cpu"),
        ("wall/board-GPU-aa", "accelerator board GPU-aa"),
    ],
)
def test_words_are_those_that_records_have(path: str, words: str) -> None:
    assert title(path) == words
