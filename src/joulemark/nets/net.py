"""The net: everything needed to build, edit, load and run a network again, without a pickle.

A saved net is one safetensors file; its header holds the JSON part. Reload = build, replay the edits, load the state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import struct
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from joulemark.nets.edits.edit import replay
from joulemark.nets.formats import apply_formats, learned_formats
from joulemark.nets.header import Format, Header, Route
from joulemark.nets.layers.layer import words
from joulemark.nets.own_nets import answers, is_own, own_structure, refuse_other_answers, source_of
from joulemark.nets.segments import Segments
from joulemark.vocabulary import look_up, module_of, names

aten = torch.ops.aten


class _Undrawn(TorchDispatchMode):
    """Build a net whose weights are loaded or only counted: large nets spend a second on drawing random ones."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks this: to skip its compiler it would first import all of it, which takes a second."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in (aten.uniform_.default, aten.normal_.default) else func(*args, **(kwargs or {}))


@dataclasses.dataclass(frozen=True)
class Net:
    """A network as data: builder and options, edits, weights, masks, number formats, route, parts.

    ``input_shape`` is that of one row. ``state`` maps parameter and buffer names to tensors; ``masks`` maps weight
    names to boolean tensors that every later fit obeys; ``formats`` maps layer paths to number formats;
    ``parts`` are the nets of a cascade, which ``route`` runs; a part may have exits or parts of its own.

    >>> net = Net.new("lenet", (1, 28, 28), seed=0)
    >>> net.module()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    builder: str
    input_shape: tuple[int, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    edits: tuple[dict[str, Any], ...] = ()
    state: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    masks: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)
    route: Route | None = None
    parts: Mapping[str, Net] = dataclasses.field(default_factory=dict)
    source: str | None = None  # of a user's own net: digest of the code that built it
    witness: tuple[tuple[float, ...], ...] | None = None  # what it answers four seeded rows: joulemark.nets.own_nets

    @classmethod
    def new(cls, builder: str, input_shape: tuple[int, ...], *, seed: int, **options: Any) -> Net:
        """A freshly initialised net; the same seed gives the same weights.

        ``ValueError`` for a user's own net, of which only the trained one is known.
        """
        if is_own(builder):
            raise ValueError("a net of one's own is given trained: nobody knows how its weights are drawn anew")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = cls(builder=builder, input_shape=input_shape, options=options)
            return net.with_state(build(builder, options))

    def with_state(self, module: nn.Module) -> Net:
        """This net with the parameters and buffers of ``module`` (copied), a part's in the part.

        A module in its trained form also hands over what its layers learned about their number formats. Raises
        ``ValueError`` if ``module`` lacks some of the parameters.
        """
        with _Undrawn():
            names, held = self._structure().state_dict().keys(), module.state_dict()
        if missing := sorted(names - held.keys()):
            raise ValueError(f"the module lacks {missing[0]!r} of the net: is it another net's?")
        inside = tuple(f"{name}." for name in self.parts)
        state = {name: held[name].detach().clone() for name in names if not (inside and name.startswith(inside))}
        parts = {name: part.with_state(module.get_submodule(name)) for name, part in self.parts.items()}
        return self.replace(state=state, parts=parts, formats=learned_formats(module, self.formats))

    def replace(self, **changes: Any) -> Net:
        """A copy with some fields changed; it answers something else, so what the net answered is not kept."""
        return dataclasses.replace(self, **{"witness": None, **changes})

    def module(self, *, formats: bool = True, training: bool = False) -> nn.Module:
        """The network as a module in evaluation mode: built, edited, loaded, masked, routed, in its number formats.

        With ``training=True`` layers that have a number format are in the form that they train in: parameters under the
        same names, gradients straight through. With ``formats=False`` all layers are float (to calibrate them). Raises
        ``ValueError`` if builder, edits and state do not fit together.
        """
        state = self.all_state
        try:
            with _Undrawn() if state else nullcontext():
                module = self._structure()
        except RecursionError as error:
            raise ValueError("the net has parts within parts too deep to be built") from error
        with torch.no_grad():
            if state:
                _load(module, state)
            parameters = dict(module.named_parameters(remove_duplicate=False))  # two layers may share their weights
            for name, mask in self.all_masks.items():
                if mask.dtype != torch.bool:
                    raise ValueError(f"the mask {name!r} holds {mask.dtype}, not booleans")
                if name not in parameters or parameters[name].shape != mask.shape:
                    raise ValueError(f"the mask {name!r} of shape {tuple(mask.shape)} fits no parameter of the net")
                parameters[name].mul_(mask)
        if formats:
            apply_formats(module, self.all_formats, training=training)
        return module.eval()

    def needs(self) -> frozenset[str]:
        """The words of the kernels without which some saving of this net is only simulated.

        Those of its layers and number formats, "zeros" where a mask leaves some out, "route" where rows part.

        >>> Net.new("lenet", (1, 28, 28), seed=0).needs()
        frozenset()
        """
        of_masks = {"zeros"} if any(not mask.all() for mask in self.all_masks.values()) else set()
        return words(self.module()) | of_masks | ({"route"} if self.route is not None else set())

    def _structure(self) -> nn.Module:
        if self.parts:
            if self.route is None:
                raise ValueError("a net of parts needs a route that says in which order they run")
            if sorted(self.route.order) != sorted(self.parts):
                raise ValueError("a route over parts names each part once")
            if self.edits:
                raise ValueError("a net of parts has no edits of its own: its parts have theirs")
            return Segments({name: self.parts[name]._structure() for name in self.route.order}, self.route)
        own = self.source is not None
        module = own_structure(self.builder, self.source) if own else build(self.builder, self.options)
        replay(module, self.edits)
        return module if self.route is None else Segments(dict(module.named_children()), self.route)

    def parameters(self) -> int:
        """Number of parameters, those of all parts included."""
        with _Undrawn():
            return sum(p.numel() for p in self._structure().parameters())

    def nonzeros(self) -> int:
        """Number of parameters that are not exactly zero."""
        return sum(int(p.count_nonzero()) for p in self.module(formats=False).parameters())

    @property
    def all_masks(self) -> dict[str, Tensor]:
        """Its own masks and those of its parts, by the names that the parameters of :meth:`module` have."""
        return self._all("masks")

    @property
    def all_formats(self) -> dict[str, Format]:
        """Its own number formats and those of its parts, by the paths that the layers of :meth:`module` have."""
        return self._all("formats")

    @property
    def all_state(self) -> dict[str, Tensor]:
        """Its own state and that of its parts, by the names that the parameters of :meth:`module` have."""
        return self._all("state")

    def _all(self, what: str) -> dict[str, Any]:
        inside = {f"{name}.{key}": one for name, part in self.parts.items() for key, one in part._all(what).items()}
        return {**getattr(self, what), **inside}

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over header and tensors: what a record calls this net."""
        return hash_of(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The net as one safetensors file; ``ValueError`` in one sentence for what such a file cannot hold."""
        tensors: dict[str, Tensor] = {}
        text = _encoded(self._header(tensors, ""))
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor):
                raise ValueError(f"the net cannot be saved: {name!r} is a {type(tensor).__name__}, not a tensor")
        # Copied, because parts may share tensors, and safetensors writes no memory twice.
        ordered = {
            name: tensors[name].detach().clone(memory_format=torch.contiguous_format) for name in sorted(tensors)
        }
        return bytes(safetensors.torch.save(ordered, metadata={"net": text}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Net:
        """Inverse of :meth:`to_bytes`; ``ValueError`` in one sentence if the bytes are not a saved net."""
        try:
            length = struct.unpack("<Q", data[:8])[0]
            metadata = msgspec.json.decode(data[8 : 8 + length])["__metadata__"]["net"]
            tensors = safetensors.torch.load(data)
            header = msgspec.json.decode(metadata, type=Header)
            if not tensors:
                raise ValueError("it holds no weights")
            net = cls._from_header(header, tensors, "")
            if strange := sorted(tensors.keys() - net._names("")):
                raise ValueError(f"it holds {strange[0]!r:.80}, which belongs to nothing in it")
            net._refuse_another_source()
        except (
            struct.error,
            LookupError,
            TypeError,
            RecursionError,
            msgspec.MsgspecError,
            SafetensorError,
            ValueError,
        ) as error:
            raise ValueError(f"not a saved net: {error}") from error
        return net

    def witnessed(self) -> Net:
        """This net with what it answers four seeded rows, if it or a part is of a user's: to be saved so."""
        if not self._own_sources() or self.witness is not None:
            return self
        return self.replace(witness=answers(self.module(), self.input_shape))

    def _refuse_another_source(self) -> None:
        """Raise ``ValueError`` if the code of a user's net was changed and it is another net now."""
        changed = [label for label, source in self._own_sources() if source_of(label) not in (None, source)]
        if not changed:
            return
        if self.witness is None:
            raise ValueError("its code was changed since, and it does not say what the net answered: make it anew")
        refuse_other_answers(changed[0], self.witness, answers(self.module(), self.input_shape))

    def _own_sources(self) -> list[tuple[str, str]]:
        """Label and source of it and of each part that is of a user's."""
        own = [] if self.source is None else [(self.builder, self.source)]
        return own + [pair for part in self.parts.values() for pair in part._own_sources()]

    def _names(self, prefix: str) -> set[str]:
        """Names that its tensors, and those of its parts, have in a file."""
        own = {f"{prefix}state/{name}" for name in self.state} | {f"{prefix}masks/{name}" for name in self.masks}
        return own.union(*(part._names(f"{prefix}parts/{name}/") for name, part in self.parts.items()))

    def _header(self, tensors: dict[str, Tensor], prefix: str) -> Header:
        tensors.update({f"{prefix}state/{name}": t for name, t in self.state.items()})
        tensors.update({f"{prefix}masks/{name}": t for name, t in self.masks.items()})
        return Header(
            builder=self.builder,
            input_shape=self.input_shape,
            options=dict(self.options),
            edits=self.edits,
            formats=dict(self.formats),
            route=self.route,
            parts={name: part._header(tensors, f"{prefix}parts/{name}/") for name, part in self.parts.items()},
            source=msgspec.UNSET if self.source is None else self.source,
            witness=msgspec.UNSET if self.witness is None else self.witness,
        )

    @classmethod
    def _from_header(cls, header: Header, tensors: Mapping[str, Tensor], prefix: str) -> Net:
        def of(kind: str) -> dict[str, Tensor]:
            start = f"{prefix}{kind}/"
            return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}

        return cls(
            builder=header.builder,
            input_shape=header.input_shape,
            options=header.options,
            edits=header.edits,
            state=of("state"),
            masks=of("masks"),
            formats=header.formats,
            route=header.route,
            parts={
                name: cls._from_header(part, tensors, f"{prefix}parts/{name}/") for name, part in header.parts.items()
            },
            source=None if header.source is msgspec.UNSET else header.source,
            witness=None if header.witness is msgspec.UNSET else header.witness,
        )


def _encoded(header: Header) -> str:
    """The JSON of a header, the same before it is saved and after it is read."""
    try:
        json.dumps(msgspec.to_builtins(header), allow_nan=False)  # msgspec would write NaN and infinity as null
        plain = msgspec.json.decode(msgspec.json.encode(header), type=Header)  # a threshold of 1 is 1.0
        return msgspec.json.encode(plain, order="deterministic").decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"the net cannot be saved: {error}") from error


def hash_of(data: bytes) -> str:
    """The hash of a saved net: for who has its bytes already, which take a while to write."""
    return hashlib.sha256(data).hexdigest()[:16]


def build(builder: str, options: Mapping[str, Any]) -> nn.Module:
    """Call a builder of the vocabulary. ``ValueError`` for an unknown name or options that it does not take.

    A user's own net is a copy of what his function gave.
    """
    if is_own(builder):
        return own_structure(builder)
    make = look_up("builder", builder)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # our output may be JSON for a script
            module = make(**options)
    except Exception as error:  # torch refuses gigantic sizes by several, and a builder is anybody's
        raise ValueError(f"builder {builder!r} does not take {dict(options)!s:.200}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"builder {builder!r} returned {type(module).__name__}, not a torch module")
    return module


def builders() -> dict[str, str]:
    """Names of all builders and where they are."""
    return names("builder")


def usual_input_shape(builder: str) -> tuple[int, ...] | None:
    """The input shape that a builder's module states as ``INPUT_SHAPE``, if it does. ``ValueError`` if unknown."""
    return getattr(module_of("builder", builder), "INPUT_SHAPE", None)


def _load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    kinds = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    for name, tensor in state.items():
        if kinds.get(name, tensor.dtype) != tensor.dtype:
            raise ValueError(f"the saved weights {name!r} hold {tensor.dtype}, where the net has {kinds[name]}")
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise ValueError(f"the saved weights do not fit the net: {' '.join(str(error).split())}") from error
