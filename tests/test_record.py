"""The vocabulary: strict records, keys of content, sentences for unknown names."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.record import Kind, Quantity, Ratio, Score, content_key
from joulemark.vocabulary import unknown_name_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def quantity(**changes) -> Quantity:
    base = {"value": 1.5, "unit": "J", "kind": Kind.MEASURED, "method": "counter", "scope": "cpu", "source": "rapl"}
    return Quantity(**{**base, **changes})


def test_unknown_value_stays_none_and_never_becomes_zero():
    data = msgspec.json.encode(quantity(value=None, reason="no counter"))
    assert json.loads(data)["value"] is None
    assert msgspec.json.decode(data, type=Quantity).value is None


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        quantity().value = 2.0


@pytest.mark.parametrize(
    "change",
    [{"kind": "guessed"}, {"joule": 1}, {"value": "1.5"}, {"unit": None}],
    ids=["kind that is none of ours", "unknown field", "text for a number", "no unit"],
)
def test_decoding_is_strict(change):
    stated = {**json.loads(msgspec.json.encode(quantity())), **change}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(stated), type=Quantity)


def test_a_field_that_is_missing_is_refused():
    with pytest.raises(msgspec.ValidationError, match="low"):
        msgspec.json.decode(b'{"value": 1.0, "high": 2.0, "count": 3}', type=Ratio)


def test_content_key_is_sha256_of_canonical_json():
    text = '["a",{"x":2,"y":[1,null]}]'
    assert content_key("a", {"y": (1, None), "x": 2}) == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(JSON, JSON)
def test_content_keys_differ_where_the_json_differs(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (content_key(a) == content_key(b)) == same


def test_content_key_tells_parts_apart():
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key(["a"], "b") != content_key("a", ["b"])


def test_unknown_name_offers_the_nearest_and_lists_all():
    assert unknown_name_message("suite", "quik", ["quick", "cifar10"]) == (
        "unknown suite 'quik': did you mean 'quick'? Known: cifar10, quick"
    )


def test_unknown_name_without_a_near_one():
    assert unknown_name_message("suite", "zzz", ["quick"]) == "unknown suite 'zzz'. Known: quick"
    assert unknown_name_message("suite", "zzz", []) == "unknown suite 'zzz'. Known: none"


@pytest.mark.parametrize(
    "held",
    [
        {"predicted": "u1[1]:x", "truth": None},
        {"predicted": None, "truth": "k"},
        {"predicted": None, "truth": None},
        {"predicted": "u1[1]:x", "truth": "k", "correct": "80"},
        {"predicted": None, "truth": "k", "correct": "80"},
    ],
)
def test_a_score_holds_predictions_with_their_truth_or_bits_alone(held):
    usual = {"split": "test", "metric": "accuracy", "rows": 1, "value": 1.0}
    for sound in ({"predicted": "u1[1]:x", "truth": "k"}, {"predicted": None, "truth": None, "correct": "80"}):
        assert msgspec.convert({**usual, **sound}, Score).rows == 1
    with pytest.raises(msgspec.ValidationError, match="a score holds what was predicted and the key of what is true"):
        msgspec.convert({**usual, **held}, Score)
