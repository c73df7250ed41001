"""Edits: structural changes of a built network, kept as JSON and replayed in order when a net is loaded.

An edit is ``{"edit": name, ...arguments}``. The vocabulary leads from the name to a function ``(module, **arguments)``
that changes the module in place and raises ``ValueError`` where it does not fit. Replaying needs no pruning library:
whatever decided on the edit wrote down its outcome, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from joulemark.vocabulary import look_up


def replay(module: nn.Module, edits: tuple[Mapping[str, Any], ...]) -> None:
    """Apply ``edits`` to ``module`` in place, in order.

    Raises ``ValueError`` for an unknown edit, a layer that is not there or arguments that do not fit.
    """
    for edit in edits:
        name = str(edit.get("edit"))
        change = look_up("edit", name)
        try:
            change(module, **{key: value for key, value in edit.items() if key != "edit"})
        except ValueError:
            raise
        except Exception as error:  # torch refuses gigantic sizes by several, and an edit is anybody's
            raise ValueError(f"edit {name!r} does not take {dict(edit)!s:.200}: {error}") from error


def put_in_place(module: nn.Module, path: str, layer: nn.Module) -> None:
    """Let ``layer`` stand where the layer ``path`` of ``module`` stood."""
    parent, _, child = path.rpartition(".")
    setattr(module.get_submodule(parent), child, layer)
