"""Defaults are left out of what a key is the digest of: to change one would change what old keys mean."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from joulemark.benchmarking.suite import Budget, Measuring, Suite
from joulemark.nets.header import Exit, Format, Header, Route
from joulemark.task import Recipe, Splits, Task

GOLDEN = Path(__file__).with_name("defaults.json")
DECLARED = (Task, Splits, Recipe, Suite, Budget, Measuring, Format, Exit, Route, Header)


def defaults(declared: type[msgspec.Struct]) -> dict:
    plain = {}
    for field in msgspec.structs.fields(declared):
        if field.default is not msgspec.NODEFAULT:
            plain[field.name] = None if field.default is msgspec.UNSET else msgspec.to_builtins(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            plain[field.name] = msgspec.to_builtins(field.default_factory())
    return plain


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one.__name__)
def test_no_default_was_changed(declared):
    """A new field with a default may be added to the golden file; no other line of it may change."""
    golden = msgspec.json.decode(GOLDEN.read_bytes())[declared.__name__]
    assert msgspec.json.decode(msgspec.json.encode(defaults(declared))) == golden


@pytest.mark.parametrize("declared", [Task, Suite, Budget, Measuring], ids=lambda one: one.__name__)
def test_what_is_a_digest_leaves_its_defaults_out(declared):
    assert declared.__struct_config__.omit_defaults
