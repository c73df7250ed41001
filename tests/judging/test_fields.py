"""Every value in a record is met once, by the path at which its JSON has it."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import msgspec

from joulemark.judging.fields import values_in
from joulemark.record import Trial

RESULTS = Path(__file__).parents[2] / "results"


def test_every_number_and_text_of_a_real_record_is_at_its_path():
    path = min(RESULTS.glob("*/*/trials/*.json"))
    plain = msgspec.json.decode(path.read_bytes())
    plain.pop("seal", None)
    record = msgspec.convert(plain, Trial)
    built = msgspec.to_builtins(record)

    def at(place: str):
        steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", place)
        return reduce(lambda value, step: value[int(step[0])] if step[0] else value[step[1]], steps, built)

    def count(value) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return 1 + sum(map(count, inner))

    met = [(place, value) for place, value in values_in(record) if isinstance(value, float)]
    assert len(met) > 100
    assert all(at(place) == value for place, value in met)
    paths = [place for place, _ in values_in(record)]
    assert len(paths) == len(set(paths))
    assert len(list(values_in(built))) == count(built)


def test_what_holds_a_value_comes_before_it():
    assert [path for path, _ in values_in({"a": [1, {"b": 2}], "c": 3})] == [
        "", "a", "a[0]", "a[1]", "a[1].b", "c"
    ]  # fmt: skip
