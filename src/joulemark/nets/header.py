"""The JSON part of a saved net: what it is built of, by names of the vocabulary.

This module declares and does nothing else, so that another field changes no result that was made without it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from joulemark.record import Record


class Format(Record, frozen=True, kw_only=True):
    """Number format of one layer. ``None`` bits mean float32; ``ValueError`` for bits that are not 1 to 32.

    ``kind`` is a kind of layer in the vocabulary, and ``options`` are its own. Of integers: activations have one scale
    over [``low``, ``high``], the range seen in calibration widened to hold zero. ``output`` is the range of what the
    layer puts out, for one whose outputs must be integers too; a range from 0 is a ReLU as well. What is unset is not
    written, so that nets saved before it was thought of keep their hash. ``gradient_bits`` is reserved for training in
    low precision: no backend reads it, and running a net does not depend on it.
    """

    kind: str = "int"
    weight_bits: int | None = None
    activation_bits: int | None = None
    gradient_bits: int | None = None
    low: float = 0.0
    high: float = 0.0
    output: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits", "gradient_bits"):
            bits = getattr(self, name)
            if bits is not None and not (type(bits) is int and 1 <= bits <= 32):
                raise ValueError(f"{name} are 1 to 32 or None, not {bits!r}")


class Exit(Record, frozen=True, kw_only=True):
    """A place where rows may leave or part: after a stage of the net (or a part of a cascade).

    Unset options are not written, so that nets saved before they were thought of keep their hash.
    """

    after: str  # child of the module, or name of the part
    router: str  # name in the vocabulary
    threshold: float
    features: int | None = None  # inputs of the linear head; None: a part's output is the logits, a stage has none
    classes: int | None = None
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET  # of the router, such as its sizes


class Route(Record, frozen=True, kw_only=True):
    """How rows travel: ``exits`` along the stages of one net, or a ``cascade`` over its parts, in the order given."""

    kind: str  # "exits" or "cascade"
    exits: tuple[Exit, ...]
    order: tuple[str, ...] = ()  # cascade: names of the parts, cheapest first; the last one answers the rest


class Header(Record, frozen=True, kw_only=True):
    """The JSON part of a saved net.

    Of a net of the user's own ``source`` is the digest of the code that built it, and ``witness`` what it answers four
    seeded rows; of others both are not written.
    """

    builder: str
    input_shape: tuple[int, ...]
    options: dict[str, Any]
    edits: tuple[dict[str, Any], ...] = ()
    formats: dict[str, Format] = {}
    route: Route | None = None
    parts: dict[str, Header] = {}
    source: str | msgspec.UnsetType = msgspec.UNSET
    witness: tuple[tuple[float, ...], ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if len(self.input_shape) > 8 or not all(type(size) is int and 1 <= size <= 10**6 for size in self.input_shape):
            raise ValueError(f"input_shape {list(self.input_shape)!s:.80} must be sizes from 1 to 1,000,000")
        for name in self.parts:
            if not name or set(name) & set("./"):
                raise ValueError(f"a part cannot be called {name!r:.80}: leave out '.' and '/'")
