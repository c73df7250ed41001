"""Knobs of the first schema get the place of their link back: chains that were run, and names that begin alike."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from joulemark.judging.settings import links_of
from joulemark.migrating.knobs import migrate_knobs
from joulemark.migrating.migrate import brought_over
from joulemark.record import Failure

ROOT = Path(__file__).parents[2]
CHANNELS = "energy-aware-pruning:energy_share=0.65,round_to=1,structure=channels"
ZEROS = "energy-aware-pruning:energy_share=0.41"


def flattened(chain: list[tuple[str, dict]]) -> dict:
    """As the first schema had them."""
    return {f"{name}.{knob}": value for name, own in chain for knob, value in own.items()}


@pytest.mark.parametrize(
    "chain",
    [
        [("energy-aware-pruning", {"energy_share": 0.7, "images": 64}), ("int8", {"images": 256})],
        [(CHANNELS, {"energy_share": 0.65, "round_to": 1}), ("energy-aware-pruning", {"energy_share": 0.41})],
        [(CHANNELS, {"energy_share": 0.65, "rounds": 8}), (ZEROS, {"energy_share": 0.41, "rounds": 9})],
        [("mag:x=0", {"x": 0, "y": 1}), ("mag:x=0.5", {"x": 0.5, "y": 2}), ("mag", {"x": 3, "y": 4})],
        [("mag:x=0.5", {"x": 0.5}), ("mag:x=0", {"x": 0})],
        [("a.b", {"x": 1}), ("a", {"x": 2}), ("no-knobs", {})],
        [("mine:x=1e+20", {"x": 1e20}), ("int8", {"images": 2})],
        [("a", {"x": 1}), ("a", {"x": 1})],
        [("a", {"x": 1}), ("b", {"y": 2}), ("a", {"x": 1})],
    ],
    ids=lambda chain: "+".join(name for name, _ in chain),
)
def test_every_link_gets_its_own(chain):
    technique = "+".join(name for name, _ in chain)
    assert migrate_knobs(technique, flattened(chain)) == [own for _, own in chain]


def test_a_single_technique_keeps_its_set_and_the_baseline_has_none():
    assert migrate_knobs("int8", {"images": 256}) == [{"images": 256}]
    assert migrate_knobs("mine:x=1e+20", {"x": 1e20}) == [{"x": 1e20}]
    assert migrate_knobs("plain", {}) == [{}]
    assert migrate_knobs("baseline", {}) == []


@pytest.mark.parametrize(
    ("technique", "stated"),
    [("a+b", {"c.x": 1}), ("a+b", {"x": 1}), ("a:x=0+b", {"a.x": 1}), ("baseline", {"x": 1})],
)
def test_a_knob_of_no_link_is_named(technique, stated):
    (name,) = stated
    with pytest.raises(ValueError, match=rf"^{name} is a knob of no link of {technique.replace('+', '.')}: the record"):
        migrate_knobs(technique, stated)


def test_a_record_of_the_first_schema_is_read_with_a_set_for_each_link():
    stated = {
        "schema": 1, "key": "k", "task": "t", "task_key": "tk", "technique": "a+a:x=1", "seed": 0,
        "knobs": {"a.x": 2, "a:x=1.x": 1}, "reason": "it hung", "started": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    record = msgspec.convert(brought_over(stated, "failures", None), Failure)
    assert (record.schema, record.knobs) == (2, ({"x": 2}, {"x": 1}))
    plain = msgspec.json.decode(msgspec.json.encode(record))
    assert brought_over(plain, "failures", None) == plain  # once is enough


def test_every_committed_record_has_a_set_for_each_link():
    """A name says which knobs are fixed: each must be found in the set of that very link."""
    found = [path for folder in ("made", "attempts", "trials") for path in ROOT.glob(f"results/*/*/{folder}/*.json")]
    found += (ROOT / "src/joulemark/baselines").glob("*/*.json")
    fixed = 0
    for path in found:
        record = msgspec.json.decode(path.read_bytes())
        links = links_of(record["technique"])
        assert len(record["knobs"]) == len(links), path
        for link, own in zip(links, record["knobs"], strict=True):
            assert not any("." in knob for knob in own)
            for part in filter(None, link.partition(":")[2].split(",")):
                name, _, value = part.partition("=")
                assert name == "search_epochs" or str(own[name]) == value, path
                fixed += 1
    assert fixed >= 20
