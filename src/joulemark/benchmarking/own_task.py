"""A user's own task: a Python file, or live objects, as a Task with its data, its net and a suite to run it by.

What a task file may define is :data:`FUNCTIONS` and :data:`VALUES`; ``joulemark init`` writes one with comments.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from joulemark.benchmarking.own_functions import loss_and_augment, prepare_by
from joulemark.benchmarking.own_net import classes_of, own_net, predicted_by, weights_digest
from joulemark.benchmarking.own_suite import own_suite, refuse_too_few
from joulemark.benchmarking.suite import Suite
from joulemark.data.own.dealing import dealt, missing_classes, shared_rows
from joulemark.data.own.own_data import OwnData, digest_of, hold, own_data
from joulemark.data.own.reading import Given, read_all
from joulemark.data.own.rows import prepared
from joulemark.judging.metrics.metric import Metric
from joulemark.judging.syntax import tree_digest
from joulemark.judging.trace import trace
from joulemark.nets.net import Net
from joulemark.nets.own_nets import PREFIX, remember_source
from joulemark.record import content_key
from joulemark.task import Own, Recipe, Splits, Task, refuse_name
from joulemark.vocabulary import VocabularyError, live_mark, look_up, register, register_live, unknown_name_message

SPLITS = ("train", "policy", "validation", "test")
FUNCTIONS = ("net", *SPLITS, "augment", "loss", "preprocess")
VALUES = ("metric", "recipe", "suite", "title", "rows", "version")
"""What a task file may define: functions, and plain values."""
EXAMPLE_ROWS = 8
LONGEST_TITLE = 120
USUAL = Recipe(builder="", epochs=1, batch_size=64, learning_rate=0.01, weight_decay=0.0)
"""By what a net is fine-tuned whose user does not say how it was trained: a tenth of this learning rate."""


class OwnTask(NamedTuple):
    """A task of a user's own, opened: its data are held in this process and its net is known by its label."""

    task: Task
    suite: Suite
    net: Net


def open_task(path: str | Path, *, limit: float | None = None, judged: bool = True) -> OwnTask:
    """Import a task file, read its data and look at its net. ``limit`` is how many points may be lost.

    Raises ``ValueError`` in one sentence for whatever is wrong with it, too few rows included unless nothing is to be
    ``judged`` by them.
    """
    name = register_task(path)
    _current.pop(name, None)
    module = look_up("data set", PREFIX + name)
    defined = {one: getattr(module, one) for one in (*FUNCTIONS, *VALUES) if hasattr(module, one)}
    # A function of that name is the user's own affair, and no value.
    defined = {one: value for one, value in defined.items() if one in FUNCTIONS or not inspect.isroutine(value)}
    return _opened(name, defined, where=Path(path).name, limit=limit, isolated=True, judged=judged)


def net_of(path: str | Path, shape: tuple[int, ...] | None = None) -> Net:
    """The net of a task file alone. With the ``shape`` of one input (channels first) its data are not read.

    Raises ``ValueError`` as :func:`open_task`.
    """
    if shape is None:
        return open_task(path, judged=False).net
    return own_net(PREFIX + register_task(path), np.zeros((EXAMPLE_ROWS, *shape), np.float32))


_current: dict[str, OwnTask] = {}
"""The task of each name whose data and net this process holds."""


def refuse_replaced(opened: OwnTask) -> None:
    """Raise ``ValueError`` if another task of that name was opened since: the data and net held are that one's."""
    if _current.get(opened.task.name) is not opened:
        raise ValueError(
            f"another task called {opened.task.name!r} was made since: give each a name of its own, as "
            f"custom_task(..., name='{opened.task.name}2')"
        )


def register_task(path: str | Path) -> str:
    """Import a task file and register it by its label, so that nets made of it can be opened; its name.

    Its data are not read. ``ValueError`` if it is no such file.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{path} is a folder: a task file is one Python file (`joulemark init example.py` writes one)")
    if not file.is_file():
        raise ValueError(f"there is no task file {path}: `joulemark init {file.name}` writes one")
    name = file.stem
    refuse_name("the name of a task file", name)
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # what it imports stands beside it
    register("builder", PREFIX + name, "net", file=file)
    register("data set", PREFIX + name, "", file=file)
    try:
        module = look_up("data set", PREFIX + name)
    except VocabularyError as error:
        cause = error.__cause__
        raise ValueError(
            f"{file.name} cannot be read: {type(cause).__name__}: {cause}" if cause else str(error)
        ) from error
    if isinstance(metric := getattr(module, "metric", None), Metric):
        register("metric", metric.name, "metric", file=file)
    units = trace([module.__name__])
    remember_source(PREFIX + name, content_key({one: was for one, was in units.items() if one.startswith("file ")}))
    return name


def live_task(name: str, defined: Mapping[str, Any], *, limit: float | None = None) -> OwnTask:
    """The same of objects of this process; what is made of them is never used again by another one."""
    refuse_name("name", name)
    _current.pop(name, None)  # what it holds is overwritten, even if this one is refused
    register_live("builder", PREFIX + name, defined["net"])
    register_live("data set", PREFIX + name, defined)
    remember_source(PREFIX + name, str(live_mark("builder", PREFIX + name)))
    return _opened(name, defined, where=name, limit=limit, isolated=False)


def _opened(
    name: str, defined: Mapping[str, Any], *, where: str, limit: float | None, isolated: bool, judged: bool = True
) -> OwnTask:
    _refuse_incomplete(defined, where)
    label = PREFIX + name
    try:
        given = read_all({one: defined[one] for one in SPLITS if one in defined}, most=defined.get("rows"))
        prepare = prepare_by(defined.get("preprocess"))
        splits = dealt(given)
        first, places = splits["validation"]
        example = np.asarray(prepared(first.inputs, places[:EXAMPLE_ROWS], prepare))
        net = own_net(label, example)
        classes = classes_of(net.module(), example)
        labelled = first.labels is not None
        halved = "train" not in given and "policy" not in given
        warnings = ["half of the rows of validation() only calibrate, since there is no train()"] if halved else []
        warnings += [*shared_rows(given), *missing_classes(given, classes), *_told(given)]
        labels = {}
        if not labelled:
            labels = {
                split: predicted_by(net, prepared(one.given.inputs, one.places, prepare))
                for split, one in splits.items()
            }
            warnings.append("rows have no labels: what is lost is counted as disagreement with the original net")
        hold(label, OwnData(splits, prepare, labels, defined.get("augment"), defined.get("loss")))
        metric = _metric(defined, label, labelled=labelled, isolated=isolated)
        task = Task(
            name=name,
            title=_title(defined.get("title", name)),
            data=label,
            data_sha256=digest_of(given),
            splits=Splits(**{split: len(one.places) for split, one in splits.items()}),
            split_by="given",
            input_shape=net.input_shape,
            classes=classes,
            metric=metric,
            recipe=_recipe(defined.get("recipe"), net),
            own=Own(
                net=weights_digest(net),
                trains="train" in defined,
                labelled=labelled,
                scratch="recipe" in defined and "train" in defined,
                functions={**_digests(defined), "example": _digest_of(example)},
                warnings=tuple(warnings),
                isolated=isolated,
            ),
        )
        suite = own_suite(task, defined.get("suite") or {}, limit)
        if judged:
            refuse_too_few(task, suite.limits_points, None if first.groups is None else first.groups[places])
            if "train" in defined:
                _try_functions(task, net)
    except (ValueError, msgspec.MsgspecError) as error:
        told = str(error)
        raise ValueError(told if where in told else f"{where}: {told}") from error
    _current[name] = OwnTask(task, suite, net)
    return _current[name]


def _refuse_incomplete(defined: Mapping[str, Any], where: str) -> None:
    for name in ("net", "validation", "test"):
        if name not in defined:
            raise ValueError(f"{where} has no {name}(): write it (`joulemark init example.py` shows how)")
    for name in FUNCTIONS:
        if name in defined and not callable(defined[name]):
            raise ValueError(f"{where}: {name} is a {type(defined[name]).__name__}, and should be a function")
    rows = defined.get("rows")
    if rows is not None and (type(rows) is not int or rows < 1):
        raise ValueError(f"{where}: rows = {rows!r:.40} should be the most rows that a split may have")


def _title(stated: Any) -> str:
    if not isinstance(stated, str) or not 1 <= len(stated.strip()) <= LONGEST_TITLE:
        raise ValueError(f"title = {stated!r:.40} should be a text of 1 to {LONGEST_TITLE} letters, for the boards")
    return stated.strip()


def _try_functions(task: Task, net: Net) -> None:
    """Call ``augment`` and ``loss`` on a few training rows, before hours are spent; ``ValueError`` if they fail."""
    data = own_data(task)
    one = data.splits["train"]
    places = one.places[:EXAMPLE_ROWS]
    labels = data.labels["train"][:EXAMPLE_ROWS] if one.given.labels is None else one.given.labels[places]
    batch = torch.from_numpy(np.asarray(prepared(one.given.inputs, places, data.prepare)))
    loss, augment = loss_and_augment(task)
    if data.augment is not None and augment is not None:
        batch = augment(batch, torch.Generator().manual_seed(0))
    if data.loss is not None:
        loss(net.module(), batch, torch.from_numpy(labels))


def _told(given: Mapping[str, Given]) -> list[str]:
    return [warning for one in given.values() for warning in one.warnings]


def _metric(defined: Mapping[str, Any], label: str, *, labelled: bool, isolated: bool) -> str:
    """The name of the metric; one of the user's own is registered by the name that it has."""
    stated = defined.get("metric", "accuracy" if labelled else "agreement")
    if isinstance(stated, Metric):
        if isolated:
            return stated.name  # registered with its file
        # By the task's label, which no other task and no metric of ours has.
        register_live("metric", label, dataclasses.replace(stated, name=label))
        return label
    if not isinstance(stated, str):
        raise ValueError(
            f"metric is a {type(stated).__name__}: give the name of one (`joulemark list metrics`), or a Metric "
            "(joulemark.judging.metrics.metric)"
        )
    if not labelled and stated != "agreement":
        raise ValueError(f"metric {stated!r} needs labels, and there are none: leave it out")
    look_up("metric", stated)
    return stated


def _recipe(stated: Any, net: Net) -> Recipe:
    """How such a net is trained, as the user says or as usual."""
    if stated is None:
        return msgspec.structs.replace(USUAL, builder=net.builder)
    if not isinstance(stated, Mapping):
        raise ValueError(
            f"recipe is a {type(stated).__name__}: give dict(epochs=..., batch_size=..., learning_rate=...)"
        )
    known = {field.name for field in msgspec.structs.fields(Recipe)} - {"builder", "options"}
    for name in stated:
        if name not in known:
            raise ValueError(f"recipe: {unknown_name_message('field', str(name), known)}")
    try:
        return msgspec.convert({"builder": net.builder, "options": dict(net.options), **stated}, Recipe)
    except msgspec.ValidationError as error:
        raise ValueError(f"recipe: {error}") from error


def _digest_of(example: np.ndarray[Any, Any]) -> str:
    """Digest of some inputs as the net takes them: what ``preprocess`` reads from elsewhere is seen in them."""
    return hashlib.sha256(np.round(example, 4).astype("<f4").tobytes()).hexdigest()[:16]


def _digests(defined: Mapping[str, Any]) -> dict[str, str]:
    """Digest of the text of each function that changes what a net sees or minimises, where it has a text."""
    found = {}
    for name in ("augment", "loss", "preprocess"):
        if name in defined:
            try:
                text = textwrap.dedent(inspect.getsource(defined[name]))
            except (OSError, TypeError):  # made by code, or an object
                text = f"{type(defined[name]).__name__}"
            found[name] = tree_digest(text.encode())
    if "version" in defined:
        found["version"] = str(defined["version"])[:64]
    return found
