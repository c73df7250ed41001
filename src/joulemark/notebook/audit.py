"""`joulemark.audit`: where a net's energy goes and what this machine would give, from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from joulemark.auditing.audit import Audit
from joulemark.auditing.audit import audit as audit_net
from joulemark.auditing.audit_page import render_audit
from joulemark.auditing.audit_text import as_renderables
from joulemark.auditing.images import Preprocessing
from joulemark.auditing.subject import Subject as Opened
from joulemark.auditing.subject import module_subject, open_subject
from joulemark.nets.net import Net
from joulemark.notebook.showing import as_text, framed
from joulemark.notebook.subject import Subject, in_evaluation, named, needed_shape, real_inputs, shape_of_one

LEAST_MINUTES, MOST_MINUTES = 0.1, 600.0
"""As of the command."""


class ShownAudit(Audit, frozen=True, kw_only=True):
    """An audit that prints as ``joulemark audit`` does; a notebook shows its page. Its fields are the figures."""

    def __repr__(self) -> str:
        return as_text(as_renderables(self))

    def _repr_html_(self) -> str:
        return framed(render_audit(self))


def audit(
    subject: Subject,
    images: Any = None,
    *,
    shape: Sequence[int] | None = None,
    minutes: float = 5.0,
    preprocessing: Preprocessing | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> ShownAudit:
    """Audit a net without labels or training: modelled energy by layer, ways to run it tried here, and advice.

    ``subject`` is "model.onnx", "package.module:build" (which runs that code), a ``Net`` whose rows all take one way
    and whose layers are float, or a torch module that returns one tensor. ``images`` are a folder of pictures or a
    ``.npy`` file, or a tensor or array (inputs, *shape) that is ready for the net; without them inputs are random,
    and then agreement of outputs means nothing. ``shape`` is that of one input where the net leaves it open.
    ``preprocessing`` says how pictures become inputs. It takes about ``minutes``; ``tell`` hears a line before each
    step. Raises ``ValueError`` for what cannot be used.
    """
    if not isinstance(minutes, int | float) or not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise ValueError(f"minutes={minutes!r:.80}: give {LEAST_MINUTES:g} to {MOST_MINUTES:g}")
    row = shape_of_one(shape)
    place = Path(images) if isinstance(images, str | os.PathLike) else None
    rows = None if images is None or place is not None else real_inputs(images, row)
    net = _opened(subject, row, None if rows is None else rows.shape[1:])
    ready = place if rows is None else real_inputs(rows, net.shape)
    made = audit_net(net, ready, how=preprocessing or Preprocessing(), minutes=minutes, tell=tell)
    return ShownAudit(**{field: getattr(made, field) for field in made.__struct_fields__})


def _opened(subject: Subject, shape: tuple[int, ...] | None, of_images: tuple[int, ...] | None) -> Opened:
    """The net, of ``shape`` or else that of the images where it leaves it open."""
    name = named(subject)
    if name is not None:
        return open_subject(name, shape or of_images)
    if isinstance(subject, Net):
        if subject.route is not None or subject.formats:
            raise ValueError("a net with a route or number formats is not audited: give the net that it was made of")
        if shape is not None and shape != subject.input_shape:
            raise ValueError(f"shape={shape} does not fit the net, which takes {subject.input_shape}")
        return module_subject(subject.builder, subject.module(), subject.input_shape)
    assert isinstance(subject, torch.nn.Module)  # noqa: S101  (named() refuses all else)
    row = needed_shape(subject, shape or of_images)
    return module_subject(type(subject).__name__, in_evaluation(subject), row)
