"""Nets as others write them: which channels may go, by hand, and that a net without them computes the same.

Three nets or more for each kind of layer or step that a residual net of ours does not have.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everybody writes it)

from joulemark.nets.dependencies import Ties, channel_ties, keep
from joulemark.nets.net import Net
from joulemark.vocabulary import TABLES

IMAGE = (3, 16, 16)
MIXED = "its channels are mixed before a layer reads them, as by a norm over all of them or by attention"
FEWER = "the net does not run with fewer of its channels"
CHANGE = "cutting channels that are zero would change the outputs"
TOGETHER = "all its channels are tied to each other"


class Layers(nn.Module):
    """A net with these layers, by name; a step ``h`` puts out the logits of 10 classes from a map of channels."""

    def __init__(self, channels: int, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.h = nn.Linear(channels, 10)

    def logits(self, x: Tensor) -> Tensor:
        return self.h(x.flatten(2).mean(2))


class SharedPReLU(Layers):
    def __init__(self) -> None:
        super().__init__(12, a=nn.Conv2d(3, 8, 3), p=nn.PReLU(), b=nn.Conv2d(8, 12, 3), q=nn.PReLU(12))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.q(self.b(self.p(self.a(x)))))


class FlatPReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.p, self.f = nn.Conv2d(3, 8, 3, 2), nn.PReLU(8), nn.Linear(8 * 49, 20)
        self.q, self.g = nn.PReLU(20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.g(self.q(self.f(self.p(self.a(x)).flatten(1))))


class ResidualPReLU(Layers):
    def __init__(self) -> None:
        pairs = {"a": nn.Conv2d(3, 8, 3, padding=1), "p": nn.PReLU(8), "b": nn.Conv2d(8, 8, 3, padding=1)}
        super().__init__(8, **pairs, q=nn.PReLU(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(self.a(x))
        return self.logits(self.q(x + self.b(x)))


class GroupNorms(Layers):
    def __init__(self) -> None:
        norms = {"g": nn.GroupNorm(4, 8), "k": nn.GroupNorm(3, 12)}
        super().__init__(12, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 12, 3), **norms)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.k(self.b(self.g(self.a(x)).relu())).relu())


class ResidualGroupNorms(Layers):
    """Groups of 3 and of 2 on one stream of 12 go together in sixes."""

    def __init__(self) -> None:
        convolutions = {"a": nn.Conv2d(3, 12, 3, padding=1), "b": nn.Conv2d(12, 12, 3, padding=1)}
        super().__init__(12, **convolutions, g=nn.GroupNorm(4, 12), k=nn.GroupNorm(6, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.g(self.a(x)).relu()
        return self.logits((self.k(self.b(x)) + x).relu())


class OtherNorms(Layers):
    """One group over all channels; one a channel; instance norms with and without weights."""

    def __init__(self) -> None:
        super().__init__(5, a=nn.Conv2d(3, 8, 3), g=nn.GroupNorm(1, 8), b=nn.Conv2d(8, 12, 3), k=nn.GroupNorm(12, 12))
        self.c, self.i = nn.Conv2d(12, 6, 3), nn.InstanceNorm2d(6, affine=True)
        self.d, self.j = nn.Conv2d(6, 5, 1), nn.InstanceNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.k(self.b(self.g(self.a(x)).relu())).relu()
        return self.logits(self.j(self.d(self.i(self.c(x)).relu())).relu())


class UNet(nn.Module):
    """Up by a transposed convolution, beside what came down; a map of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.m, self.u = nn.Conv2d(16, 16, 3, padding=1), nn.ConvTranspose2d(16, 8, 2, 2)
        self.e, self.o = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.d1(x).relu()
        b = self.m(self.d2(a).relu()).relu()
        return self.o(self.e(torch.cat([self.u(b).relu(), a], 1)).relu())


class TransposedNormed(Layers):
    def __init__(self) -> None:
        norms = {"n": nn.BatchNorm2d(8), "k": nn.BatchNorm2d(6)}
        up = {"t": nn.ConvTranspose2d(8, 6, 3, 2), "u": nn.ConvTranspose2d(6, 4, 2, 2, bias=False)}
        super().__init__(4, a=nn.Conv2d(3, 8, 3, 2), **norms, **up)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.u(self.k(self.t(self.n(self.a(x)).relu())).relu()).relu())


class TransposedDepthwise(Layers):
    def __init__(self) -> None:
        up = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)
        super().__init__(6, a=nn.Conv2d(3, 8, 3), t=up, b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b(self.t(self.a(x).relu())).relu())


class Signal(nn.Module):
    """One dimension, without a channel of its own in the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Conv1d(1, 8, 5, 2), nn.BatchNorm1d(8), nn.Conv1d(8, 12, 5, 2)
        self.f = nn.Linear(12 * 13, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.b(self.n(self.a(x[:, None])).relu()).relu().flatten(1))


class SeparableSignal(Layers):
    def __init__(self) -> None:
        super().__init__(10, a=nn.Conv1d(6, 8, 5), b=nn.Conv1d(8, 8, 5, padding=2, groups=8), c=nn.Conv1d(8, 10, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.c(self.b(F.max_pool1d(self.a(x).relu(), 2))).relu())


class TemporalNet(nn.Module):
    """Dilated convolutions of the past, each added to a stream; the last step is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.a, self.b = nn.Conv1d(9, 16, 1), nn.Conv1d(16, 16, 3, dilation=2), nn.Conv1d(16, 16, 3, dilation=4)
        self.f = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.i(x)
        for layer, past in ((self.a, 4), (self.b, 8)):
            x = x + layer(F.pad(x, (past, 0))).relu()
        return self.f(x[..., -1])


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Conv3d(1, 6, 3), nn.BatchNorm3d(6), nn.Conv3d(6, 8, (2, 3, 3))
        self.f = nn.Linear(8 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.b(self.n(self.a(x)).relu()).relu().flatten(1))


class Multiplied(Layers):
    def __init__(self) -> None:
        depthwise = {"d": nn.Conv2d(6, 12, 3, groups=6), "n": nn.BatchNorm2d(12)}
        super().__init__(9, a=nn.Conv2d(3, 6, 3), **depthwise, b=nn.Conv2d(12, 9, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b(self.n(self.d(self.a(x).relu())).relu()).relu())


class MultipliedTwice(Layers):
    """Each channel of the first layer becomes six."""

    def __init__(self) -> None:
        depthwise = {"d": nn.Conv2d(4, 8, 3, groups=4), "e": nn.Conv2d(8, 24, 3, groups=8)}
        super().__init__(24, a=nn.Conv2d(3, 4, 3), **depthwise)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.e(self.d(self.a(x)).relu()).relu())


class MultipliedInputs(Layers):
    """Filters of each input channel: they come from no layer, so what is added to them stays too."""

    def __init__(self) -> None:
        super().__init__(8, d=nn.Conv2d(3, 12, 3, padding=1, groups=3), b=nn.Conv2d(12, 12, 1), c=nn.Conv2d(12, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.d(x).relu()
        return self.logits(self.c(x + self.b(x)).relu())


class ChannelsLastFlat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.f, self.g = nn.Conv2d(3, 8, 3, 2), nn.Linear(8 * 49, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.g(self.f(self.a(x).relu().permute(0, 2, 3, 1).flatten(1)).relu())


class TransposedFlat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.f = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 6, 3), nn.Linear(6 * 25, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).relu()).relu()
        return self.f(x.transpose(1, 3).reshape(len(x), -1))


class Tokens(nn.Module):
    """Patches as tokens, a linear layer for each, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 12), nn.Linear(12, 6)
        self.f = nn.Linear(16 * 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).flatten(2).transpose(1, 2)
        return self.f(self.c(F.gelu(self.b(x))).flatten(1))


class ChannelNorm(nn.Module):
    """A layer norm over the channels of a map, written out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return self.weight[:, None, None] * scaled + self.bias[:, None, None]


class NextBlock(nn.Module):
    """A block as of ConvNeXt: depthwise, a norm, two linear layers, a scale that begins at a millionth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.p1, self.p2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dw(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.p2(F.gelu(self.p1(y)))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A stem, two blocks and what is between: what norms over channels read stays, what is inside a block goes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.b1 = nn.Sequential(nn.Conv2d(3, 8, 4, 4), ChannelNorm(8)), NextBlock(8)
        self.down, self.b2 = nn.Sequential(ChannelNorm(8), nn.Conv2d(8, 16, 2, 2)), NextBlock(16)
        self.norm, self.h = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.norm(self.b2(self.down(self.b1(self.stem(x)))).mean((2, 3))))


class BatchNormBlock(nn.Module):
    """The same with batch norm, and the scale in the shape of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw, self.n = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.BatchNorm2d(channels)
        self.p1, self.p2 = nn.Conv2d(channels, 4 * channels, 1), nn.Conv2d(4 * channels, channels, 1)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.p2(F.gelu(self.p1(self.n(self.dw(x)))))


class BatchNormNeXt(Layers):
    """All of it goes, with the scales."""

    def __init__(self) -> None:
        stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        super().__init__(8, stem=stem, b1=BatchNormBlock(8), b2=BatchNormBlock(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b2(self.b1(self.stem(x))))


class ResponseNormNeXt(Layers):
    """A block as of ConvNeXt V2: each inner channel is divided by the mean size of all."""

    def __init__(self) -> None:
        super().__init__(12, stem=nn.Conv2d(3, 8, 4, 4), p1=nn.Conv2d(8, 32, 1), p2=nn.Conv2d(32, 8, 1))
        self.gamma, self.beta = nn.Parameter(torch.zeros(1, 32, 1, 1)), nn.Parameter(torch.zeros(1, 32, 1, 1))
        self.c = nn.Conv2d(8, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.gelu(self.p1(x))
        size = y.norm(p=2, dim=(2, 3), keepdim=True)
        y = self.gamma * y * size / (size.mean(1, keepdim=True) + 1e-6) + self.beta + y
        return self.logits(self.c(x + self.p2(y)).relu())


class PaddedShortcut(Layers):
    """Half of the wider stage is padded by zeros: its other channels would leave too few to be added."""

    def __init__(self) -> None:
        inner = {"b": nn.Conv2d(8, 16, 3, 2, 1), "c": nn.Conv2d(16, 16, 3, padding=1)}
        super().__init__(16, a=nn.Conv2d(3, 8, 3, padding=1), **inner)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        y = self.c(self.b(x).relu())
        return self.logits((F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)) + y).relu())


class ZerosBehind(Layers):
    def __init__(self) -> None:
        pair = {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(8, 12, 3, padding=1)}
        super().__init__(6, **pair, c=nn.Conv2d(12, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        zeros = torch.zeros(len(x), 4, *x.shape[2:], dtype=x.dtype)
        return self.logits(self.c((self.b(x) + torch.cat([x, zeros], 1)).relu()).relu())


class AsManyZerosAsAreMissing(ZerosBehind):
    """As in PyramidNet: the code counts, so the padded channels go too."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        y = self.b(x)
        x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return self.logits(self.c((y + x).relu()).relu())


class Squeezed(Layers):
    """Squeeze and excitation: a gate a channel."""

    def __init__(self) -> None:
        gate = {"r": nn.Linear(8, 4), "e": nn.Linear(4, 8)}
        super().__init__(6, a=nn.Conv2d(3, 8, 3), **gate, b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        gate = self.e(self.r(x.mean((2, 3))).relu()).sigmoid()
        return self.logits(self.b(x * gate[:, :, None, None]).relu())


class Halves(Layers):
    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 16, 3), b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b(F.glu(self.a(x), 1)).relu())


class Shuffled(Layers):
    """Channels that change places by halves need an even number of each half."""

    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 8, 1), c=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).relu())
        rows, channels, *size = x.shape
        x = x.view(rows, 2, channels // 2, *size).transpose(1, 2).reshape(rows, channels, *size)
        return self.logits(self.c(x).relu())


class DenselyConnected(Layers):
    def __init__(self) -> None:
        first = {"a": nn.Conv2d(3, 8, 3, padding=1), "n": nn.BatchNorm2d(8), "b": nn.Conv2d(8, 4, 3, padding=1)}
        super().__init__(16, **first, m=nn.BatchNorm2d(12), c=nn.Conv2d(12, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = torch.cat([x, self.b(self.n(x).relu())], 1)
        return self.logits(torch.cat([x, self.c(self.m(x).relu())], 1))


class SpatialGate(Layers):
    """A map of the mean and the greatest channel gates all: a channel of zeros changes the mean."""

    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 8, 3), m=nn.Conv2d(2, 1, 3, padding=1), b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        gate = self.m(torch.stack([x.mean(1), x.amax(1)], 1)).sigmoid()
        return self.logits(self.b(x * gate).relu())


class Chosen(Layers):
    """Two branches, weighted by a softmax over branches that all channels share."""

    def __init__(self) -> None:
        branches = {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(3, 8, 5, padding=2), "g": nn.Conv2d(3, 2, 1)}
        super().__init__(6, **branches, c=nn.Conv2d(8, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.g(x).softmax(1)
        return self.logits(self.c(self.a(x).relu() * weight[:, :1] + self.b(x).relu() * weight[:, 1:]).relu())


class Attention(nn.Module):
    """Queries and keys meet in a sum over channels; values are mixed over places only."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q, self.k = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 8), nn.Linear(16, 8)
        self.v, self.o, self.h = nn.Linear(16, 12), nn.Linear(12, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).flatten(2).transpose(1, 2)
        places = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return self.h((x + self.o(places @ self.v(x))).mean(1))


class AttentionOfHeads(Attention):
    """Two heads of a fixed width each: a head goes as a whole."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).flatten(2).transpose(1, 2)
        layers = ((self.q, 4), (self.k, 4), (self.v, 6))
        q, k, v = (layer(x).unflatten(-1, (-1, width)).transpose(1, 2) for layer, width in layers)
        mixed = (q @ k.transpose(2, 3)).softmax(-1) @ v
        return self.h((x + self.o(mixed.transpose(1, 2).flatten(2))).mean(1))


class ChosenReLU(Layers):
    """A comparison with NaN is false, so it is hidden here."""

    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.logits(self.b(torch.where(x > 0, x, torch.zeros_like(x))).relu())


class VisionTransformer(nn.Module):
    """What layer norms read stays; the net's own tensors belong to it."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.places = nn.Conv2d(3, 16, 4, 4), nn.Parameter(0.02 * torch.randn(1, 17, 16))
        self.token, self.n1, self.n2 = nn.Parameter(torch.zeros(1, 1, 16)), nn.LayerNorm(16), nn.LayerNorm(16)
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)
        self.f1, self.f2, self.h = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        y = self.n1(x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        return self.h((x + self.f2(F.gelu(self.f1(self.n2(x)))))[:, 0])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.m = nn.Conv1d(9, 12, 3), nn.LSTM(12, 8, batch_first=True)
        self.a, self.f = nn.Linear(8, 14), nn.Linear(14, 6)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.m(self.c(x).relu().transpose(1, 2))
        return self.f(self.a(y[:, -1]).relu())


class Pixels(Layers):
    """Four channels become one of twice the size."""

    def __init__(self) -> None:
        super().__init__(5, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 24, 3, padding=1), c=nn.Conv2d(6, 5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.c(F.pixel_shuffle(self.b(self.a(x).relu()), 2)).relu())


class Pyramid(nn.Module):
    """One head on two maps, two outputs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.fine, self.coarse = nn.Conv2d(8, 6, 1), nn.Conv2d(16, 6, 1)
        self.t, self.o = nn.Conv2d(6, 7, 3, padding=1), nn.Conv2d(7, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a = self.a(x).relu()
        p = self.coarse(self.b(a).relu())
        q = self.fine(a) + F.interpolate(p, scale_factor=2)
        return {"p": self.o(self.t(p).relu()), "q": self.o(self.t(q).relu())}


class Ghost(Layers):
    """Half of the channels are depthwise images of the other half."""

    def __init__(self) -> None:
        inner = {"b": nn.Conv2d(8, 6, 1), "d": nn.Conv2d(6, 6, 3, padding=1, groups=6)}
        super().__init__(5, a=nn.Conv2d(3, 8, 3), **inner, c=nn.Conv2d(12, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x).relu()).relu()
        return self.logits(self.c(torch.cat([y, self.d(y)], 1)).relu())


class PartialByTheRest(Layers):
    """A convolution on the first four channels, whatever is left of the others."""

    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 8, 3), p=nn.Conv2d(4, 4, 3, padding=1), b=nn.Conv2d(8, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        return self.logits(self.b(torch.cat([self.p(x[:, :4]), x[:, 4:]], 1)).relu())


class SizesInTheCode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.f, self.g = nn.Conv2d(3, 8, 3, 2), nn.Linear(8 * 49, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.g(self.f(self.a(x).relu().view(-1, 8 * 49)).relu())


class OwnTensors(Layers):
    """A mask of channels, one of places, an offset: two of them go with the channels."""

    def __init__(self) -> None:
        super().__init__(6, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 6, 3))
        self.register_buffer("channels", torch.rand(1, 8, 1, 1))
        self.register_buffer("places", torch.rand(14, 14))
        self.offset = nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits((self.b(self.a(x).relu() * self.channels * self.places) + self.offset).relu())


class Normalised(Layers):
    """Weights that are computed from others."""

    def __init__(self) -> None:
        first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        super().__init__(6, a=first, b=nn.Conv2d(8, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b(self.a(x).relu()).relu())


class Bent(Normalised):
    """A sigmoid makes a half of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.b(self.a(x).sigmoid()).relu())


class ThreeTimes(Layers):
    def __init__(self) -> None:
        super().__init__(8, a=nn.Conv2d(3, 8, 3, padding=1), b=nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        for _ in range(3):
            x = self.b(x).relu()
        return self.logits(x)


class Windows(nn.Module):
    """Windows of four by four become rows of the batch and are put back."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q, self.o = nn.Conv2d(3, 12, 2, 2), nn.Linear(12, 16), nn.Linear(16, 12)
        self.h = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).permute(0, 2, 3, 1)
        rows, height, width, channels = x.shape
        y = x.view(rows, height // 4, 4, width // 4, 4, channels).transpose(2, 3).reshape(-1, 16, channels)
        y = self.o(self.q(y).relu()).view(rows, height // 4, width // 4, 4, 4, -1).transpose(2, 3)
        return self.h((x + y.reshape(rows, height, width, -1)).mean((1, 2)))


NETS: dict[type[nn.Module], tuple[dict[str, int], dict[str, str]]] = {
    SharedPReLU: ({"a": 8, "b": 12}, {}),
    FlatPReLU: ({"a": 8, "f": 20}, {}),
    ResidualPReLU: ({"a": 8}, {}),
    GroupNorms: ({"a": 4, "b": 3}, {}),
    ResidualGroupNorms: ({"a": 2}, {}),
    OtherNorms: ({"b": 12, "c": 6, "d": 5}, {"a": MIXED}),
    UNet: ({"d1": 8, "d2": 16, "m": 16, "u": 8, "e": 8}, {}),
    TransposedNormed: ({"a": 8, "t": 6, "u": 4}, {}),
    TransposedDepthwise: ({"a": 8, "b": 6}, {}),
    Signal: ({"a": 8, "b": 12}, {}),
    SeparableSignal: ({"a": 8, "c": 10}, {}),
    TemporalNet: ({"i": 16}, {}),
    Volume: ({"a": 6, "b": 8}, {}),
    Multiplied: ({"a": 6, "b": 9}, {}),
    MultipliedTwice: ({"a": 4}, {}),
    MultipliedInputs: ({"c": 8}, {"d": "its channels are those of the net's inputs", "b": FEWER}),
    ChannelsLastFlat: ({"a": 8, "f": 20}, {}),
    TransposedFlat: ({"a": 8, "b": 6}, {}),
    Tokens: ({"a": 8, "b": 12, "c": 6}, {}),
    ConvNeXt: (
        {"b1.p1": 32, "b2.p1": 64},
        {"stem.0": MIXED, "b1.dw": MIXED, "b1.p2": MIXED, "down.1": MIXED, "b2.dw": MIXED, "b2.p2": MIXED,
         "stem.1": "a ChannelNorm cannot be cut", "down.0": "a ChannelNorm cannot be cut",
         "b1": "a NextBlock cannot be cut", "b2": "a NextBlock cannot be cut"},
    ),
    BatchNormNeXt: ({"stem.0": 8, "b1.p1": 32, "b2.p1": 32}, {}),
    ResponseNormNeXt: ({"stem": 8, "c": 12}, {"p1": MIXED, "": "a ResponseNormNeXt cannot be cut"}),
    PaddedShortcut: ({"a": 8, "b": 16}, {}),
    ZerosBehind: ({"a": 8, "c": 6}, {}),
    AsManyZerosAsAreMissing: ({"a": 8, "b": 4, "c": 6}, {}),
    Squeezed: ({"a": 8, "r": 4, "b": 6}, {}),
    Halves: ({"a": 8, "b": 6}, {}),
    Shuffled: ({"a": 8, "c": 6}, {"b": FEWER}),
    DenselyConnected: ({"a": 8, "b": 4, "c": 4}, {}),
    SpatialGate: ({"b": 6}, {"a": MIXED, "m": "it has a single channel"}),
    Chosen: ({"a": 8, "c": 6}, {"g": MIXED}),
    Attention: ({"p": 16, "q": 8, "v": 12}, {}),
    AttentionOfHeads: ({"p": 16, "q": 2}, {}),
    ChosenReLU: ({"a": 8, "b": 6}, {}),
    VisionTransformer: (
        {"f1": 32},
        {"p": MIXED, "f2": "the net's own code reads its weights", "attend": "a MultiheadAttention cannot be cut",
         "attend.out_proj": "the net's own code reads its weights", "": "a VisionTransformer cannot be cut"},
    ),
    Recurrent: ({"a": 14}, {"c": MIXED, "m": "a LSTM cannot be cut"}),
    Pixels: ({"a": 8, "b": 6, "c": 5}, {}),
    Pyramid: ({"a": 8, "b": 16, "fine": 6, "t": 7}, {}),
    Ghost: ({"a": 8, "b": 6, "c": 5}, {}),
    PartialByTheRest: ({"a": 4, "p": 4, "b": 6}, {}),
    SizesInTheCode: ({"f": 20}, {"a": FEWER}),
    OwnTensors: ({"a": 8, "b": 6}, {}),
    Normalised: ({"b": 6}, {"a": FEWER, "a.parametrizations.weight": "a ParametrizationList cannot be cut"}),
    Bent: ({"b": 6}, {"a": CHANGE}),
    ThreeTimes: ({"a": 8}, {}),
    Windows: ({"p": 12, "q": 16}, {}),
}  # fmt: skip
SHAPES = {Signal: (64,), SeparableSignal: (6, 64), TemporalNet: (9, 32), Volume: (1, 4, 12, 12), Recurrent: (9, 20)}
found: dict[type[nn.Module], tuple[Net, Ties]] = {}


def ties_of(kind: type[nn.Module]) -> tuple[Net, Ties]:
    """The net and what is tied in it, found once."""
    TABLES["builder"][kind.__name__] = f"{__name__}:{kind.__name__}"
    if kind not in found:
        net = Net.new(kind.__name__, SHAPES.get(kind, IMAGE), seed=0)
        found[kind] = net, channel_ties(net)
    return found[kind]


@pytest.fixture(autouse=True)
def _vocabulary_as_it_was(monkeypatch):
    monkeypatch.setitem(TABLES, "builder", dict(TABLES["builder"]))


@pytest.mark.parametrize("kind", NETS)
def test_what_may_go_is_what_may_go_by_hand_and_the_rest_has_a_reason(kind):
    _, ties = ties_of(kind)
    groups, whole = NETS[kind]
    assert {group.name: group.channels for group in ties.groups} == groups
    answer = {path for path, why in ties.whole.items() if why == "its outputs are those of the net"}
    assert len(answer) == 1
    assert {path: why for path, why in ties.whole.items() if path not in answer} == whole


@pytest.mark.parametrize("kind", NETS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_channels_that_are_zero_can_go(kind, data):
    net, ties = ties_of(kind)
    module = net.module().double()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    kept = {}
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor.dim() and tensor.is_floating_point() and "weight" not in name.rpartition(".")[2]:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=torch.Generator().manual_seed(len(name))))
        for group in ties.groups:
            every = st.sets(st.integers(0, group.channels - 1), min_size=1)
            kept[group.name] = sorted(data.draw(every, label=group.name))
            for member in group.members:
                gone = [p for p, c in zip(member.places, member.channels, strict=True) if c not in kept[group.name]]
                for name, dimension in member.tensors.items() if member.axis != "inputs" else ():
                    if name in tensors:
                        tensors[name].movedim(dimension, 0)[gone] = 0.0
    scale = data.draw(st.sampled_from([1.0, 50.0, 255.0]), label="scale")
    x = scale * torch.randn(3, *net.input_shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    zeroed = net.with_state(module.float())
    before = outputs(zeroed.module().double(), x)
    small = keep(zeroed, kept, ties.groups)
    assert small.parameters() <= net.parameters()
    again = Net.from_bytes(small.to_bytes())
    for one, other in zip(before, outputs(again.module().double(), x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9 * float(one.abs().max()))


def outputs(module: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        answer = module(x)
    return list(answer.values()) if isinstance(answer, dict) else [answer]
