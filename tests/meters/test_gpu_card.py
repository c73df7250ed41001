"""A GPU board on a fake ``pynvml``: bound by its UUID, lost and found again, with the watts that it can draw."""

from __future__ import annotations

import pytest
from fake_nvml import UNSIGNED_INT, UNSIGNED_LONG_LONG, FakeNvml, NVMLError, two_boards

from joulemark.meters.gpu_card import LIMIT_MARGIN, MAX_WATTS, NOT_SUPPORTED, error_code
from joulemark.meters.nvml import AVERAGE_FIELD, ENERGY_FIELD, NvmlBoard, NvmlPower
from joulemark.meters.source import ReadError, SourceLost

FOR_GOOD = [1, 2, 6, 9, 15, 16, 18, 28]


@pytest.fixture
def nvml() -> FakeNvml:
    return two_boards()


def test_a_board_says_what_it_is(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    told = (source.uuid, source.name, source.scope, source.path, source.shared)
    assert told == ("GPU-aa", "nvml NVIDIA H100", "accelerator board GPU-aa", "wall/board-GPU-aa", False)
    assert source.read().raw == 1_000_000


@pytest.mark.parametrize(("limits", "watts"), [([200_000, 700_000], 1050.0), (None, MAX_WATTS)])
def test_most_watts_are_its_limit_with_a_margin_or_more_than_any_board(
    nvml: FakeNvml, limits: list[int] | None, watts: float
) -> None:
    nvml.boards["GPU-aa"] = {"name": "x", "millijoules": 1, **({} if limits is None else {"limits": limits})}
    assert NvmlBoard(nvml, "GPU-aa").max_watts == pytest.approx(watts)
    assert (LIMIT_MARGIN, MAX_WATTS) == (1.5, 2000.0)


def test_a_mig_slice_stands_for_its_board_and_says_that_it_is_shared(nvml: FakeNvml) -> None:
    nvml.boards["GPU-aa"]["mig"] = 1
    source = NvmlBoard(nvml, "MIG-GPU-aa")
    assert (source.uuid, source.path, source.shared) == ("GPU-aa", "wall/board-GPU-aa", True)
    assert source.scope == "accelerator board GPU-aa (shared by MIG slices)"
    nvml.boards["GPU-aa"]["mig"] = 0  # a board that could be shared, and is not
    assert not NvmlBoard(nvml, "GPU-aa").shared


def test_a_board_stays_bound_to_its_uuid_when_the_order_changes(nvml: FakeNvml) -> None:
    first, second = NvmlBoard(nvml, "GPU-aa"), NvmlBoard(nvml, "GPU-bb")
    nvml.boards = dict(reversed(nvml.boards.items()))
    nvml.loaded += 1
    assert (first.read().raw, second.read().raw) == (1_000_000, 5_000)


@pytest.mark.parametrize("uuid", ["GPU-zz", "MIG-GPU-zz"])
def test_an_unknown_board_is_the_drivers_error_and_holds_nothing(nvml: FakeNvml, uuid: str) -> None:
    with pytest.raises(NVMLError, match="Not Found"):
        NvmlBoard(nvml, uuid)
    assert nvml.users == 0


def test_a_board_that_cannot_be_asked_its_name_holds_nothing(nvml: FakeNvml) -> None:
    nvml.boards["GPU-aa"]["name"] = NVMLError("GPU is lost", 15)
    with pytest.raises(NVMLError, match="lost"):
        NvmlBoard(nvml, "GPU-aa")
    assert nvml.users == 0


def test_every_reader_gives_the_library_back_once(nvml: FakeNvml) -> None:
    one, other = NvmlBoard(nvml, "GPU-aa"), NvmlBoard(nvml, "GPU-aa")
    assert nvml.users == 2
    one.close()
    one.close()
    assert (nvml.users, other.read().raw) == (1, 1_000_000)
    with pytest.raises(ReadError, match="nvml NVIDIA H100: the source is closed"):
        one.read()
    assert nvml.users == 1


def test_a_driver_that_is_gone_does_not_break_the_close(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    nvml.driver = False
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read()


def test_a_driver_loaded_anew_is_found_once_more_at_every_loss(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    for _ in range(3):
        nvml.loaded += 1
        assert source.read().raw == 1_000_000
    assert nvml.users == 1


@pytest.mark.parametrize("code", FOR_GOOD)
def test_a_board_that_stays_lost_is_lost_now_and_ever_after(nvml: FakeNvml, code: int) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    nvml.boards["GPU-aa"]["millijoules"] = NVMLError("it is gone", code)
    with pytest.raises(SourceLost, match="H100: it is gone, also after the board was looked up anew by its UUID"):
        source.read()
    nvml.boards["GPU-aa"]["millijoules"] = 7
    with pytest.raises(SourceLost, match="it is gone"):
        source.read()
    source.close()
    assert nvml.users == 0


@pytest.mark.parametrize("code", [None, 3, 4, 10, 13, 999])
def test_what_may_pass_is_tried_again_next_time(nvml: FakeNvml, code: int | None) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    nvml.boards["GPU-aa"]["millijoules"] = NVMLError("Timeout", code)
    with pytest.raises(ReadError, match=r"^nvml NVIDIA H100: Timeout$") as caught:
        source.read()
    assert not isinstance(caught.value, SourceLost)
    nvml.boards["GPU-aa"]["millijoules"] = 8
    assert source.read().raw == 8


def test_a_fault_while_the_board_is_looked_up_anew_may_pass_too(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    nvml.loaded += 1
    nvml.boards["GPU-aa"]["millijoules"] = NVMLError("Timeout", 10)
    with pytest.raises(ReadError, match="Timeout") as caught:
        source.read()
    assert not isinstance(caught.value, SourceLost)
    nvml.boards["GPU-aa"]["millijoules"] = 9
    assert source.read().raw == 9


def test_a_board_that_is_there_no_more_is_lost(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    nvml.loaded += 1
    del nvml.boards["GPU-aa"]
    with pytest.raises(SourceLost, match="Not Found"):
        source.read()
    assert nvml.users == 0


@pytest.mark.parametrize(("kind", "read"), [(UNSIGNED_INT, 250_000), (UNSIGNED_LONG_LONG, 2**40)])
def test_a_field_is_a_whole_number_of_either_size(nvml: FakeNvml, kind: int, read: int) -> None:
    nvml.boards["GPU-aa"]["fields"] = {AVERAGE_FIELD: (kind, read)}
    assert NvmlPower(nvml, "GPU-aa", AVERAGE_FIELD).read().raw == read


@pytest.mark.parametrize("fields", [{}, {AVERAGE_FIELD: (0, 250.0)}, {ENERGY_FIELD: (UNSIGNED_INT, 5)}])
def test_a_field_that_is_not_there_or_no_whole_number_is_not_supported(
    nvml: FakeNvml, fields: dict[int, tuple[int, float]]
) -> None:
    nvml.boards["GPU-aa"]["fields"] = fields
    with pytest.raises(NVMLError) as caught:
        NvmlPower(nvml, "GPU-aa", AVERAGE_FIELD)
    assert error_code(caught.value) in NOT_SUPPORTED
    assert nvml.users == 0


def test_the_number_of_an_error_is_none_where_it_has_none() -> None:
    assert (error_code(NVMLError("x", 15)), error_code(NVMLError("x")), error_code(ValueError())) == (15, None, None)


def test_the_numbers_are_those_of_the_real_package() -> None:
    real = pytest.importorskip("pynvml")
    lost = ("UNINITIALIZED", "INVALID_ARGUMENT", "NOT_FOUND", "DRIVER_NOT_LOADED", "GPU_IS_LOST", "RESET_REQUIRED",
            "LIB_RM_VERSION_MISMATCH", "GPU_NOT_FOUND")  # fmt: skip
    assert [getattr(real, f"NVML_ERROR_{name}") for name in lost] == FOR_GOOD
    assert {real.NVML_ERROR_NOT_SUPPORTED, real.NVML_ERROR_FUNCTION_NOT_FOUND} == NOT_SUPPORTED
    assert (real.NVML_VALUE_TYPE_UNSIGNED_INT, real.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG) == (1, 3)
