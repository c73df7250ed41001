"""Compressed nets: read back bit by bit, smaller than what they hold, sizes by hand, and garbage refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.nets.compressed import LONGEST_GAP, MAGIC, _gaps, compress, decompress
from joulemark.nets.net import Net


def shared(net: Net, values: int, sparsity: float) -> Net:
    """The net with weights of so many different values, and a share of them masked."""
    random = np.random.default_rng(0)
    state, masks = dict(net.state), {}
    for name, tensor in net.state.items():
        if tensor.dim() > 1:
            codebook = random.standard_normal(values).astype(np.float32)
            masks[name] = torch.from_numpy(random.random(tuple(tensor.shape)) >= sparsity)
            state[name] = torch.from_numpy(codebook[random.integers(0, values, tuple(tensor.shape))]) * masks[name]
    return net.replace(state=state, masks=masks)


def same(one: Net, other: Net) -> bool:
    """Whether two nets are equal, value by value."""

    def header(net: Net) -> Net:
        return net.replace(state={}, masks={})

    return header(one) == header(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in ((one.state, other.state), (one.masks, other.masks))
    )


@pytest.fixture(scope="module")
def net() -> Net:
    return shared(Net.new("lenet", (1, 28, 28), seed=0), 16, 0.9)


def test_a_net_comes_back_bit_by_bit(net):
    again = decompress(compress(net))
    assert same(again, net)
    rows = torch.rand(3, 1, 28, 28)
    assert torch.equal(again.module()(rows), net.module()(rows))


def test_the_size_is_what_the_entropy_says(net):
    """4 bits a value and, with a tenth of the places, gaps of entropy h(0.1) / 0.1 = 4.69 bits; tables come on top."""
    weights = sum(int(mask.sum()) for mask in net.masks.values())
    biases = sum(4 * tensor.numel() for tensor in net.state.values() if tensor.dim() == 1)
    bits = 8 * (len(compress(net)) - biases) / weights
    assert 4 + 4.69 < bits < 4 + 4.69 + 0.7
    assert len(compress(net)) < len(net.to_bytes()) / 20


def test_zero_is_a_value_where_no_mask_says_otherwise():
    plain = shared(Net.new("lenet", (1, 28, 28), seed=0), 3, 0.5).replace(masks={})
    again = decompress(compress(plain))
    assert same(again, plain)
    assert again.masks == {}


def test_many_values_stay_as_they_are_unless_they_are_masked():
    dense = Net.new("lenet", (1, 28, 28), seed=0)
    assert decompress(compress(dense)).hash == dense.hash
    name = max(dense.state, key=lambda name: dense.state[name].numel())
    mask = torch.arange(dense.state[name].numel()).reshape(dense.state[name].shape) % 100 == 0
    masked = dense.replace(masks={name: mask}, state={**dense.state, name: dense.state[name] * mask})
    assert same(decompress(compress(masked)), masked)
    nothing = torch.zeros_like(mask)
    empty = dense.replace(masks={name: nothing}, state={**dense.state, name: dense.state[name] * nothing})
    assert same(decompress(compress(empty)), empty)


def test_what_is_masked_is_not_stored(net):
    name = next(iter(net.masks))
    hidden = net.replace(state={**net.state, name: net.state[name] + 7.0 * ~net.masks[name]})
    assert same(decompress(compress(hidden)), net)


def test_masks_that_do_not_fit_are_refused():
    half = shared(Net.new("lenet", (1, 28, 28), seed=0), 4, 0.5)
    bias = next(name for name in half.state if name.endswith("bias"))
    with pytest.raises(ValueError, match="is masked: a compressed net holds masks on float32 weights"):
        compress(half.replace(masks={bias: torch.ones_like(half.state[bias], dtype=torch.bool)}))


@settings(deadline=None)
@given(st.sets(st.integers(0, 3000), max_size=60))
def test_gaps_lead_to_the_places(places):
    there = np.array(sorted(places), np.int64)
    gaps, is_weight = _gaps(there)
    assert gaps.max(initial=0) <= LONGEST_GAP + 1
    assert ((gaps <= LONGEST_GAP) == is_weight).all()
    walked, at = [], -1
    for gap, weight in zip(gaps.tolist(), is_weight.tolist(), strict=True):
        at += gap + weight
        walked += [at] if weight else []
    assert walked == there.tolist()


def test_garbage_is_one_sentence(net):
    data = compress(net)
    for broken in (b"", b"hello", MAGIC, data[:40], data[:-1], MAGIC + b"\xff" * 50):
        with pytest.raises(ValueError, match="not a compressed net"):
            decompress(broken)
    with pytest.raises(ValueError, match="not a compressed net"):
        decompress(data.replace(b'"float32"', b'"complex"', 1))


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 5000), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_a_net_or_one_sentence(place, bit):
    small = shared(Net.new("lenet", (1, 28, 28), seed=0, width=0.05), 3, 0.5)
    data = bytearray(compress(small))
    data[place % len(data)] ^= 1 << bit
    try:
        assert isinstance(decompress(bytes(data)), Net)
    except ValueError as error:
        assert "\n" not in str(error)
