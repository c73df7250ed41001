"""What a killed fit goes on from: weights, and the states of the optimiser, the callbacks and the loss.

A checkpoint is one safetensors file with the JSON part in its header.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn


class Checkpoint(Protocol):
    """Where a fit keeps its last finished epoch."""

    def load(self) -> bytes | None:
        """The last checkpoint saved, or ``None``."""
        ...

    def save(self, data: bytes) -> None:
        """Replace the checkpoint, atomically."""
        ...


@dataclasses.dataclass
class Run:
    """A running fit and where its checkpoint is kept."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    stateful: Sequence[Any]
    checkpoint: Checkpoint | None
    losses: list[float] = dataclasses.field(default_factory=list)

    def save(self, epoch: int) -> None:
        """Keep what is needed to go on after ``epoch`` epochs, if there is a place for it."""
        if self.checkpoint is None:
            return
        tensors, plain = _states(self.stateful)
        tensors |= {f"module/{name}": t for name, t in self.module.state_dict().items()}
        scalars: dict[str, dict[str, Any]] = {}
        for index, entry in self.optimiser.state_dict()["state"].items():
            for key, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{index}/{key}"] = value
                else:
                    scalars.setdefault(str(index), {})[key] = value
        options = [_options(group) for group in self.optimiser.param_groups]
        header = {"epoch": epoch, "losses": self.losses, "scalars": scalars, "states": plain, "options": options}
        self.checkpoint.save(_file(tensors, header))

    def restore(self) -> int:
        """Load the checkpoint, if there is one, and return the epochs that are done."""
        data = self.checkpoint.load() if self.checkpoint is not None else None
        if data is None:
            return 0
        tensors, header = _read(data)
        self.module.load_state_dict(_below("module/", tensors))
        entries: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in header["scalars"].items()}
        for name, tensor in _below("optimiser/", tensors).items():
            index, _, key = name.partition("/")
            entries.setdefault(int(index), {})[key] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        # A callback may have set some: the weight decay, say.
        kept = [*header.get("options", []), *({} for _ in groups)]  # those of an earlier version kept none
        options = [{**group, **set_} for group, set_ in zip(groups, kept, strict=False)]
        self.optimiser.load_state_dict({"state": entries, "param_groups": options})
        _load_states(self.stateful, tensors, header["states"])
        self.losses = list(header["losses"])
        return int(header["epoch"])


def stateful(*things: Any) -> list[Any]:
    """Those of ``things`` whose state can be kept: they have ``state_dict`` and ``load_state_dict``."""
    return [one for one in things if hasattr(one, "state_dict") and hasattr(one, "load_state_dict")]


def states_to_bytes(things: Sequence[Any]) -> bytes:
    """The states of stateful ``things``; ``TypeError`` in one sentence for a state that cannot be kept."""
    tensors, plain = _states(things)
    return _file(tensors, {"states": plain})


def states_from_bytes(things: Sequence[Any], data: bytes) -> None:
    """Give ``things`` the states that :func:`states_to_bytes` wrote, in the same order."""
    tensors, header = _read(data)
    _load_states(things, tensors, header["states"])


def _states(things: Sequence[Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Tensors of all states by name, and what else they hold, a dictionary for each."""
    tensors: dict[str, Tensor] = {}
    plain: list[dict[str, Any]] = []
    for place, thing in enumerate(things):
        state = thing.state_dict()
        tensors |= {f"states/{place}/{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        plain.append({key: value for key, value in state.items() if not isinstance(value, Tensor)})
        kind = type(thing).__name__
        try:
            kept = msgspec.json.decode(msgspec.json.encode(plain[-1]))
        except TypeError as error:
            raise TypeError(f"the state of {kind} cannot be kept: hold JSON values and tensors ({error})") from error
        other = [key for key, value in plain[-1].items() if kept.get(key) != _listed(value)]
        if other:
            raise TypeError(
                f"the state of {kind} cannot be kept: {other[0]!r} would come back as {kept.get(other[0])!r:.40}: hold "
                "JSON values (finite numbers, text, lists) and tensors"
            )
    return tensors, plain


def _listed(value: Any) -> Any:
    """The same with lists for tuples, as JSON has them."""
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a group of parameters but its rate, which the schedule sets at every step."""
    given = {name: value for name, value in group.items() if name not in ("params", "lr", "initial_lr")}
    plain = json.dumps({name: value for name, value in given.items() if _is_plain(value)}, allow_nan=False)
    return dict(json.loads(plain))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _load_states(things: Sequence[Any], tensors: Mapping[str, Tensor], plain: Sequence[Mapping[str, Any]]) -> None:
    for place, (thing, kept) in enumerate(zip(things, plain, strict=True)):
        thing.load_state_dict({**_below(f"states/{place}/", tensors), **kept})


def _file(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    flat = {name: t.detach().clone().contiguous() for name, t in tensors.items()}
    return bytes(safetensors.torch.save(flat, metadata={"fit": msgspec.json.encode(header).decode()}))


def _read(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    length = int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"]["fit"])
    return safetensors.torch.load(data), header


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
