"""The torch module of an ONNX graph: named layers and the steps between them, run in the order of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn


class Held(NamedTuple):
    """A tensor that the module holds, by its path."""

    path: str


class Step(NamedTuple):
    """One function, or the layer of that path, of some inputs.

    An input is the name of what an earlier step made, a tensor that is :class:`Held`, or a plain number or list.
    """

    does: Callable[..., Any] | str
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    frees: tuple[str, ...] = ()
    """What no later step reads."""


class OnnxModule(nn.Module):
    """Runs its steps. Layers are looked up by path each time, so that an edit may put another one in the place."""

    def __init__(self, entry: str, answer: str) -> None:
        super().__init__()
        self.entry, self.answer = entry, answer
        self.order: tuple[Step, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """The output of the graph for its input, (rows, ...)."""
        values: dict[str, Any] = {self.entry: x}
        for step in self.order:
            self.do(step, values)
        result: Tensor = values[self.answer]
        return result

    def do(self, step: Step, values: dict[str, Any]) -> None:
        """Run one step: add its outputs to ``values`` and take out what it frees."""
        does = self.get_submodule(step.does) if isinstance(step.does, str) else step.does
        made = does(*(self._given(one, values) for one in step.inputs))
        values.update(zip(step.outputs, made if len(step.outputs) > 1 else (made,), strict=True))
        for name in step.frees:
            del values[name]

    def _given(self, source: Any, values: dict[str, Any]) -> Any:
        if isinstance(source, Held):
            place, _, name = source.path.rpartition(".")
            return getattr(self.get_submodule(place), name)
        return values[source] if isinstance(source, str) else source

    def place(self, path: str, item: nn.Module | Tensor) -> str:
        """Put a layer, a parameter or a buffer there, or beside it if something else has the name; its path."""
        *parents, name = path.split(".")
        holder: nn.Module = self
        taken: list[str] = []
        for parent in parents:
            inner = holder._modules.get(parent)
            if inner is None:
                parent = _free_name(holder, parent)
                inner = nn.Module()
                holder.add_module(parent, inner)
            holder = inner
            taken.append(parent)
        name = _free_name(holder, name)
        if isinstance(item, nn.Module):
            holder.add_module(name, item)
        elif isinstance(item, nn.Parameter):
            holder.register_parameter(name, item)
        else:
            holder.register_buffer(name, item)
        return ".".join([*taken, name])


def _free_name(holder: nn.Module, name: str) -> str:
    """``name``, or that with a number behind it if the module has something else of that name."""
    names = (name, *(f"{name}_{number}" for number in range(2, 1_000_000)))
    return next(one for one in names if not hasattr(holder, one))


def needed(steps: Sequence[Step], answer: str) -> tuple[Step, ...]:
    """The steps that the answer depends on, each with what it frees.

    >>> steps = [Step(abs, ("x",), ("a",)), Step(abs, ("x",), ("unread",)), Step(abs, ("a",), ("y",))]
    >>> [(step.inputs, step.frees) for step in needed(steps, "y")]
    [(('x',), ('x',)), (('a',), ('a',))]
    """
    read = {answer}
    found: list[Step] = []
    for step in reversed(steps):
        if not read.isdisjoint(step.outputs):
            names = _names(step.inputs)
            unread = [name for name in (*dict.fromkeys(names), *step.outputs) if name not in read]
            found.append(step._replace(frees=tuple(unread)))
            read.update(names)
    return tuple(reversed(found))


def _names(inputs: Iterable[Any]) -> list[str]:
    return [one for one in inputs if isinstance(one, str)]
