"""Zones of fake powercap trees: what each counts, and what is done with it."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powercap import LAYOUTS, Powercap

from joulemark.meters.powercap import Role, control, hidden_zones, zones
from joulemark.meters.scope import overlap


@pytest.fixture
def tree(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "sys")


def told(tree: Powercap) -> list[tuple[str, str, str]]:
    """Number, scope below the platform, and role of every zone."""
    found = zones(tree.root)
    assert all(zone.path == "" or zone.path.startswith("wall/platform") for zone in found)
    names = {zone.directory: zone.directory.name.replace("intel-rapl", "").lstrip(":") for zone in found}
    return [(names[zone.directory], zone.path.removeprefix("wall/platform").lstrip("/"), zone.role) for zone in found]


EXPECTED = {
    "client": [
        ("0", "package-0", "summed"), ("0:0", "package-0/core", "nested"),
        ("0:1", "package-0/uncore", "nested"), ("1", "", "nested"),
    ],
    "two_sockets": [
        ("0", "package-0", "summed"), ("0:0", "dram-0", "summed"),
        ("1", "package-1", "summed"), ("1:0", "dram-1", "summed"),
        ("-mmio:0", "package-0", "duplicate"), ("-mmio:1", "package-1", "duplicate"),
    ],
    "multi_die": [
        ("0", "package-0/die-0", "summed"), ("0:0", "package-0/die-0/core", "nested"),
        ("0:1", "dram-0/die-0", "summed"),
        ("1", "package-0/die-1", "summed"), ("1:0", "package-0/die-1/core", "nested"),
        ("1:1", "dram-0/die-1", "summed"),
    ],
    "amd": [("0", "package-0", "summed"), ("0:0", "package-0/core", "nested")],
    "dtpm": [("0", "package-0", "summed")],
    "top_dram": [("1", "package-0", "summed"), ("0", "dram-0", "summed")],
    "mmio_only": [("-mmio:0", "package-0", "summed")],
    "no_zones": [],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_zone_of_a_machine_has_its_scope_and_role(tree: Powercap, layout: str) -> None:
    LAYOUTS[layout](tree)
    assert told(tree) == EXPECTED[layout]


def test_zones_come_in_the_order_of_their_numbers(tree: Powercap) -> None:
    tree.zone("10", "package-1-die-1")
    tree.zone("2", "package-0-die-1")
    assert [zone.directory.name for zone in zones(tree.root)] == ["intel-rapl:2", "intel-rapl:10"]


def test_the_first_zone_of_a_scope_counts_and_any_other_is_a_duplicate(tree: Powercap) -> None:
    for number in ("3", "1", "2"):
        tree.zone(number, "package-0")
    assert [(number, role) for number, _, role in told(tree)] == [
        ("1", "summed"), ("2", "duplicate"), ("3", "duplicate"),
    ]  # fmt: skip


def test_memory_at_the_top_is_a_duplicate_beside_that_of_a_package_wherever_it_stands(tree: Powercap) -> None:
    tree.zone("0", "dram")
    tree.zone("1", "package-0")
    tree.zone("1:0", "dram")
    tree.zone("2", "package-1")
    tree.zone("2:0", "dram")
    assert told(tree)[-1] == ("0", "dram-0", "duplicate")
    assert [role for _, _, role in told(tree)[:-1]] == ["summed"] * 4


def test_the_platform_and_the_parts_of_a_package_are_never_summed(tree: Powercap) -> None:
    tree.zone("0", "psys")
    tree.zone("1", "package-0")
    tree.zone("1:0", "core")
    assert [role for _, _, role in told(tree)] == ["nested", "summed", "nested"]


@pytest.mark.parametrize(
    "name", ["", "gadget", "core", "package-", "package-x", "package-0-die", "Package-0", "dram-0"]
)
def test_a_name_at_the_top_that_we_do_not_know_is_unknown_and_has_no_scope(tree: Powercap, name: str) -> None:
    tree.zone("0", name)
    (zone,) = zones(tree.root)
    assert (zone.name, zone.path, zone.role) == (name, "", Role.UNKNOWN)


@pytest.mark.parametrize("name", ["psys", "package-1", "gadget"])
def test_a_name_inside_a_package_that_we_do_not_know_is_unknown(tree: Powercap, name: str) -> None:
    tree.zone("0", "package-0")
    tree.zone("0:0", name)
    assert told(tree)[1] == ("0:0", "", "unknown")


def test_a_part_of_what_is_no_package_is_unknown(tree: Powercap) -> None:
    tree.zone("0", "psys")
    tree.zone("0:0", "core")
    assert told(tree)[1] == ("0:0", "", "unknown")


def test_a_zone_whose_name_cannot_be_read_is_unknown(tree: Powercap) -> None:
    (tree.zone("0", "package-0") / "name").unlink()
    assert [zone.role for zone in zones(tree.root)] == [Role.UNKNOWN]


def test_a_machine_without_the_folder_has_no_zones(tmp_path: Path) -> None:
    assert zones(tmp_path / "nowhere") == []


def test_zones_whose_devices_a_container_hides_are_those_at_the_top_in_order(tree: Powercap) -> None:
    tree.control("intel-rapl-mmio")
    for number, name in (("10", "package-1"), ("2", "package-0"), ("2:0", "dram")):
        tree.zone(number, name)
    tree.zone("0", "package-0", control="intel-rapl-mmio")
    assert hidden_zones(tree.root) == []
    shutil.rmtree(tree.devices)
    names = [path.name for path in hidden_zones(tree.root)]
    assert names == ["intel-rapl:2", "intel-rapl:10", "intel-rapl-mmio:0"]
    assert {zone.role for zone in zones(tree.root)} == {Role.UNKNOWN}


def test_no_folder_hides_no_zone(tmp_path: Path) -> None:
    assert hidden_zones(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["intel-rapl", "intel-rapl-mmio"])
def test_a_zone_reads_the_register_of_its_control_type(tree: Powercap, name: str) -> None:
    tree.control(name)
    zone = tree.zone("0", "package-0", control=name)
    part = tree.zone("0:1", "core", control=name)
    assert (control(zone), control(part)) == (name, name)


PARTS = st.lists(st.sampled_from(["dram", "core", "uncore", "odd"]), max_size=3)


def machines(*packages: str) -> st.SearchStrategy[list[tuple[str, list[str]]]]:
    return st.lists(st.tuples(st.sampled_from([*packages, "psys", "dram", "gadget"]), PARTS), max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.one_of(machines("package-0", "package-1"), machines("package-0-die-0", "package-0-die-1", "package-1-die-0")))
def test_every_zone_is_told_and_no_energy_is_summed_twice(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, list[str]]]
) -> None:
    tree = Powercap(tmp_path_factory.mktemp("sys"))
    for number, (name, parts) in enumerate(drawn):
        tree.zone(str(number), name)
        for part, inner in enumerate(parts):
            tree.zone(f"{number}:{part}", inner)
    found = zones(tree.root)
    assert sorted(zone.directory for zone in found) == sorted(tree.root.glob("intel-rapl:*"))
    summed = [zone.path for zone in found if zone.role == Role.SUMMED]
    assert not any(overlap(one, other) for one, other in combinations(summed, 2))
    assert any(name.startswith("package") for name, _ in drawn) <= any("package" in path for path in summed)
