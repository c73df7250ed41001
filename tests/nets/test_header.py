"""What a saved net may say of itself, and what it leaves unsaid so that its hash stays."""

from __future__ import annotations

import msgspec
import pytest

from joulemark.nets.header import Exit, Format, Header, Route


def header(**changes) -> Header:
    return Header(**{"builder": "lenet", "input_shape": (1, 28, 28), "options": {}, **changes})


def test_it_comes_back_from_json_as_it_was():
    exits = (Exit(after="a", router="onward", threshold=0.5, options={"inputs": 3}),)
    form = Format(weight_bits=4, activation_bits=8, low=-1.0, output=(0.0, 2.0))
    whole = header(
        formats={"x": form}, route=Route(kind="cascade", exits=exits, order=("a", "b")), parts={"a": header()}
    )
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Header) == whole


def test_what_is_unset_is_not_written():
    assert "options" not in msgspec.to_builtins(Exit(after="a", router="onward", threshold=0.5))
    assert not {"options", "output"} & set(msgspec.to_builtins(Format()))
    assert "output" in msgspec.to_builtins(Format(output=(0.0, 1.0)))


@pytest.mark.parametrize("bits", [0, 33, -1, True, 8.0, "8"])
@pytest.mark.parametrize("name", ["weight_bits", "activation_bits", "gradient_bits"])
def test_bits_are_1_to_32_or_none(name, bits):
    with pytest.raises(ValueError, match=f"{name} are 1 to 32 or None"):
        Format(**{name: bits})
    assert getattr(Format(**{name: 32}), name) == 32


@pytest.mark.parametrize("shape", [(0,), (1, -2), (1,) * 9, (10**7,), (1.0,), (True,)])
def test_a_shape_has_sizes(shape):
    with pytest.raises(ValueError, match=r"must be sizes from 1 to 1,000,000"):
        header(input_shape=shape)


@pytest.mark.parametrize("name", ["", "a.b", "a/b"])
def test_a_part_has_a_name_for_a_file(name):
    with pytest.raises(ValueError, match="a part cannot be called"):
        header(parts={name: header()})
