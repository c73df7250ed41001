"""The vocabulary: every name that a suite, a saved net or a record may hold, and where the code behind it stands.

One table of plain strings for each kind of thing. Nothing that a table names is imported before somebody asks for it by
name, and nothing else is imported at all: a file from elsewhere can name only what stands here, what an installed
package brings as an entry point, or what the caller registered in this process.

The tables stand on the ground floor and not with the nets, because metrics and data sets are found here too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.util
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

TABLES: dict[str, dict[str, str]] = {
    "technique": {
        "conditional-deep-learning": "joulemark.techniques.conditional.conditional_deep_learning",
        "deep-compression": "joulemark.techniques.pruning.deep_compression",
        "energy-aware-pruning": "joulemark.techniques.pruning.energy_aware_pruning",
        "fire": "joulemark.techniques.compact.fire",
        "group-magnitude": "joulemark.techniques.pruning.group_magnitude",
        "int8": "joulemark.techniques.precision.int8",
        "magnitude": "joulemark.techniques.pruning.magnitude",
        "optimal-brain-damage": "joulemark.techniques.pruning.optimal_brain_damage",
        "random-pruning": "joulemark.techniques.pruning.random_pruning",
        "small-dense": "joulemark.techniques.compact.small_dense",
        "structured-sparsity": "joulemark.techniques.pruning.structured_sparsity",
        "two-four": "joulemark.techniques.pruning.two_four",
    },
    "builder": {
        "lenet": "joulemark.nets.builders.lenet:lenet",
        "lenet1989": "joulemark.nets.builders.lenet1989:lenet1989",
        "convnet": "joulemark.nets.builders.convnet:convnet",
        "alexnet": "joulemark.nets.builders.alexnet:alexnet",
        "alexnet-grouped": "joulemark.nets.builders.alexnet_grouped:alexnet_grouped",
        "alexnet-torchvision": "joulemark.nets.builders.alexnet_torchvision:alexnet_torchvision",
        "googlenet": "joulemark.nets.builders.googlenet:googlenet",
        "inception": "joulemark.nets.builders.inception:inception",
        "vgg": "joulemark.nets.builders.vgg:vgg",
        "vgg16": "joulemark.nets.builders.vgg16:vgg16",
        "resnet": "joulemark.nets.builders.resnet:resnet",
        "resnet20": "joulemark.nets.builders.resnet:resnet20",
        "resnet50": "joulemark.nets.builders.resnet50:resnet50",
        "squeezenet": "joulemark.nets.builders.squeezenet:squeezenet",
    },
    "edit": {
        "absorb_batch_norm": "joulemark.nets.edits.absorb_batch_norm:absorb_batch_norm",
        "bypass_block": "joulemark.nets.edits.bypass_block:bypass_block",
        "delay": "joulemark.nets.edits.delay:delay",
        "fire": "joulemark.nets.edits.fire:fire",
        "keep_channels": "joulemark.nets.edits.keep_channels:keep_channels",
        "keep_entries": "joulemark.nets.edits.keep_entries:keep_entries",
        "lower_columns": "joulemark.nets.edits.lower_columns:lower_columns",
        "pad_channels": "joulemark.nets.edits.pad_channels:pad_channels",
    },
    "kind of layer": {
        "int": "joulemark.nets.layers.integer:INTEGER",
        "rounded": "joulemark.nets.layers.rounded:ROUNDED",
    },
    "router": {
        "exactly-one": "joulemark.nets.routers.exactly_one:ExactlyOne",
        "onward": "joulemark.nets.routers.onward:Onward",
    },
    "metric": {
        "accuracy": "joulemark.judging.metrics.accuracy:accuracy",
        "top-5": "joulemark.judging.metrics.top_5:top_5",
        "weighted-f1": "joulemark.judging.metrics.weighted_f1:weighted_f1",
        "agreement": "joulemark.judging.metrics.agreement:agreement",
    },
    "backend": {
        "onnxruntime": "joulemark.backends.onnx:OnnxRuntime",
        "openvino": "joulemark.backends.openvino:OpenVino",
        "eager": "joulemark.backends.eager:Eager",
        "sparse": "joulemark.backends.sparse:Sparse",
    },
    "energy model": {
        "row-stationary": "joulemark.energy.accelerator:Accelerator",
        "row-stationary-horowitz": "joulemark.energy.accelerator:horowitz",
        "row-stationary-accelergy": "joulemark.energy.accelerator:accelergy",
        "systolic": "joulemark.energy.systolic:Systolic",
        "datasheet": "joulemark.energy.datasheet:DataSheet",
        "microcontroller": "joulemark.energy.microcontroller:Microcontroller",
    },
    "model from a file": {
        "accelerator": "joulemark.energy.accelerator:from_file",
        "learned": "joulemark.energy.learned:named_model",
    },
    "net from a file": {
        "onnx": "joulemark.nets.from_onnx:module_from_onnx",
    },
    "data set": {
        "mnist5k": "joulemark.data.mnist5k",
        "mnist": "joulemark.data.mnist",
        "fashion": "joulemark.data.fashion",
        "cifar10": "joulemark.data.cifar10",
        "svhn": "joulemark.data.svhn",
    },
    "meter": {
        "rapl": "joulemark.meters.rapl",
        "nvml": "joulemark.meters.nvml",
        "apple": "joulemark.meters.apple",
        "ina3221": "joulemark.meters.ina3221",
        "grace": "joulemark.meters.grace",
        "wall": "joulemark.meters.wall",
    },
}
"""Kind -> name -> where it is: "module:name in it", or a module alone where the kind says what stands in it."""

GROUPS = {
    "technique": "joulemark.techniques",
    "builder": "joulemark.nets",
    "edit": "joulemark.edits",
    "kind of layer": "joulemark.layers",
    "router": "joulemark.routers",
    "metric": "joulemark.metrics",
    "backend": "joulemark.backends",
    "energy model": "joulemark.energy_models",
    "data set": "joulemark.data",
}
"""Kinds that installed packages may add to, and the group of their entry points."""


MODULES = frozenset({"technique", "data set"})
"""Kinds whose names may lead to a module alone."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
"""What a name, and where it leads, may look like."""


class VocabularyError(ValueError):
    """A name leads nowhere; the message is one sentence for the user."""


@dataclasses.dataclass(frozen=True)
class Registration:
    """A name that the caller added: data that another process can repeat, by :func:`repeat`.

    ``module`` is a dotted name that can be imported, or ``file`` the path of a Python file with the digest that it had.
    """

    kind: str
    name: str
    function: str
    module: str | None = None
    file: str | None = None
    digest: str | None = None

    @property
    def where(self) -> str:
        """Where it is, for a person."""
        return f"{self.module or self.file}:{self.function}"


_registered: dict[tuple[str, str], Registration] = {}
_live: dict[tuple[str, str], tuple[Any, str]] = {}
_listeners: list[set[str]] = []
_imported: dict[tuple[str, str], ModuleType] = {}  # by path and digest
_sources: dict[str, bytes] = {}  # of files, by path, as they were imported last


def register(
    kind: str, name: str, function: str, *, module: str | None = None, file: str | Path | None = None
) -> Registration:
    """Add a name to this process: the ``function`` (or class, or value) of a ``module`` or of a Python ``file``.

    Nothing is imported yet. Raises :class:`VocabularyError` for a kind that cannot be added to, a name that is taken, a
    file that is not there, and unless exactly one of ``module`` and ``file`` is given.

    >>> register("builder", "lenet", "net", module="mine")
    Traceback (most recent call last):
    ...
    joulemark.vocabulary.VocabularyError: the builder 'lenet' is joulemark.nets.builders.lenet:lenet: give mine:net \
another name
    """
    if not isinstance(kind, str) or kind not in GROUPS:
        raise VocabularyError(unknown_name_message("kind of registration", str(kind), GROUPS))
    if not isinstance(file, str | Path | None):
        raise VocabularyError(f"a {kind} cannot be registered with the file {file!r:.80}: give a path")
    for what, text, form in (("name", name, NAME), ("function", function, ATTRIBUTE), ("module", module, ATTRIBUTE)):
        left_out = (what == "module" and text is None) or (what == "function" and text == "" and kind in MODULES)
        if not left_out and not (isinstance(text, str) and form.fullmatch(text)):
            raise VocabularyError(f"a {kind} cannot be registered with the {what} {text!r:.80}: {form.pattern}")
    if (module is None) == (file is None):
        raise VocabularyError(f"the {kind} {name!r} needs either a module or a file that it is written in")
    path = None if file is None else str(Path(file).resolve())
    added = Registration(kind, name, function, module, path, None if path is None else _digest(path, kind, name))
    if (kind, name) in _live:
        raise VocabularyError(f"the {kind} {name!r} is an object of this session: give {added.where} another name")
    before = _registered.get((kind, name))
    if before is not None and before.where == added.where:
        _refuse_changed(before, before.digest)
    taken = before.where if before not in (None, added) else _taken(kind, name)
    if taken is not None:
        raise VocabularyError(f"the {kind} {name!r} is {taken}: give {added.where} another name")
    _registered[kind, name] = added
    return added


def register_live(kind: str, name: str, thing: Any) -> None:
    """Add a name for a live object, such as a net that was made in a notebook; one of that name before it is replaced.

    No other process can repeat it, so nothing that was made of it is used again: only :func:`joulemark.custom_task`
    calls this. Raises :class:`VocabularyError` for a name that is taken by something else.
    """
    taken = _registered[kind, name].where if (kind, name) in _registered else _taken(kind, name)
    if taken is not None:
        raise VocabularyError(f"the {kind} {name!r} is {taken}: give this one another name")
    _live[kind, name] = thing, secrets.token_hex(8)


def live_mark(kind: str, name: str) -> str | None:
    """What tells a live object from every other one, of other processes too; ``None`` for a name that is none."""
    return _live[kind, name][1] if (kind, name) in _live else None


def registrations() -> tuple[Registration, ...]:
    """All that was registered in this process, for :func:`repeat` in another."""
    return tuple(_registered.values())


def repeat(registration: Registration) -> None:
    """Register the same again, as in a child process. :class:`VocabularyError` if its file is gone or was changed."""
    _refuse_changed(registration, registration.digest)
    register(
        registration.kind, registration.name, registration.function, module=registration.module, file=registration.file
    )


def names(kind: str) -> dict[str, str]:
    """All names of a kind and where they are: those of installed packages, those registered, ours. Nothing is imported.

    >>> names("router")["onward"]
    'joulemark.nets.routers.onward:Onward'
    """
    installed = {entry.name: entry.value for entry in entry_points(group=GROUPS[kind])} if kind in GROUPS else {}
    registered = {one.name: one.where for one in _registered.values() if one.kind == kind}
    live = {name: "an object of this process" for of, name in _live if of == kind}
    return {**installed, **live, **registered, **TABLES.get(kind, {})}


def look_up(kind: str, name: str) -> Any:
    """The thing of that name, imported. :class:`VocabularyError` for a name that is not known or leads nowhere.

    Of a name that stands for a module alone, the module. Whoever listens (:func:`listening`) is told its module.
    """
    if (kind, name) in _live:
        return _live[kind, name][0]
    module, attribute = _module(kind, name)
    tell([module.__name__])
    if not attribute:
        return module
    try:
        return functools.reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise VocabularyError(f"the {kind} {name!r} should be {attribute} in {module.__name__}: it is not") from error


def module_of(kind: str, name: str) -> ModuleType:
    """The module that a name leads to; of a live object this one, which no trace counts. Raises as :func:`look_up`."""
    return sys.modules[__name__] if (kind, name) in _live else _module(kind, name)[0]


@contextlib.contextmanager
def listening() -> Iterator[set[str]]:
    """Gather the modules of all names that are looked up while the block runs; blocks may nest.

    >>> with listening() as modules:
    ...     _ = look_up("router", "onward")
    >>> modules
    {'joulemark.nets.routers.onward'}
    """
    heard: set[str] = set()
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners[:] = [one for one in _listeners if one is not heard]  # two that heard the same are equal


def tell(modules: Iterable[str]) -> None:
    """Tell whoever listens of modules whose names were looked up before, by what is taken up again now."""
    for heard in _listeners:
        heard.update(modules)


def import_file(path: str | Path) -> ModuleType:
    """A user's Python file as a module, imported once for each content. Raises whatever importing it raises.

    Its name tells the file and its content, so that two files, or two states of one, are never taken for each other.
    """
    whole = Path(path).resolve()
    source = whole.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    key = (str(whole), digest)
    if key not in _imported:
        stem = "".join(c if c.isalnum() else "_" for c in whole.stem)
        place = hashlib.sha256(str(whole).encode()).hexdigest()[:8]
        spec = importlib.util.spec_from_file_location(f"joulemark_file_{stem}_{place}_{digest[:8]}", whole)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # so that inspect finds its source
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module.__name__]
            raise
        _imported[key] = module
    _sources[str(whole)] = source
    return _imported[key]


def imported_files() -> dict[str, bytes]:
    """Path -> text of every user's file that was imported, as it was when it was imported last."""
    return dict(_sources)


def unknown_name_message(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not known, with the nearest one that is.

    >>> unknown_name_message("suite", "quik", ["quick", "cifar10"])
    "unknown suite 'quik': did you mean 'quick'? Known: cifar10, quick"
    """
    ordered = sorted(known)
    close = [one for one in ordered if name and one.startswith(name)]
    close += difflib.get_close_matches(name, ordered, n=1, cutoff=0.4)
    hint = f": did you mean {close[0]!r}?" if close else "."
    return f"unknown {what} {name!r}{hint} Known: {', '.join(ordered) or 'none'}"


def _module(kind: str, name: str) -> tuple[ModuleType, str]:
    """The module of a name, and what it is called in there."""
    own = TABLES.get(kind, {}).get(name)
    registered = _registered.get((kind, name))
    if own is None and registered is not None:
        return _import_registered(registered), registered.function
    if own is not None:
        place, _, attribute = own.partition(":")
        return importlib.import_module(place), attribute
    entry = _installed(kind, name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # our output may be JSON for a script
            return importlib.import_module(entry.module), entry.attr
    except (Exception, SystemExit) as error:  # another package's code, which may raise anything
        raise VocabularyError(
            f"the {kind} {name!r} of an installed package ({entry.value}) cannot be imported: {type(error).__name__}: "
            f"{error}: repair or remove that package"
        ) from error


def _taken(kind: str, name: str) -> str | None:
    """Where a name leads that is ours or of an installed package."""
    installed = (entry.value for entry in entry_points(group=GROUPS[kind]) if entry.name == name)
    return TABLES.get(kind, {}).get(name) or next(installed, None)


def _installed(kind: str, name: str) -> EntryPoint:
    """The entry point of that name that an installed package brings."""
    group = GROUPS.get(kind)
    found = {entry.value: entry for entry in entry_points(group=group) if entry.name == name} if group else {}
    if not found:
        raise VocabularyError(unknown_name_message(kind, name, names(kind)))
    if len(found) > 1:
        raise VocabularyError(f"more than one installed package brings the {kind} {name!r}: {', '.join(sorted(found))}")
    return next(iter(found.values()))


def _import_registered(registration: Registration) -> ModuleType:
    _refuse_changed(registration, registration.digest)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if registration.file is not None:
                return import_file(registration.file)
            return importlib.import_module(str(registration.module))
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        raise VocabularyError(
            f"the {registration.kind} {registration.name!r} ({registration.where}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def _refuse_changed(registration: Registration, digest: str | None) -> None:
    """Raise :class:`VocabularyError` if the file of a registration is gone, or is not what was registered."""
    if registration.file is None:
        return
    try:
        now = _digest(registration.file, registration.kind, registration.name)
    except VocabularyError as error:
        raise VocabularyError(f"{error} (registered with digest {str(digest)[:12]}, now none)") from error
    if now != digest:
        raise VocabularyError(
            f"{registration.file}, which holds the {registration.kind} {registration.name!r}, was changed since it was "
            f"registered (digest {str(digest)[:12]}, now {now[:12]}): start again, or bring the old file back"
        )


def _digest(path: str, kind: str, name: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise VocabularyError(f"{path!r}, which should hold the {kind} {name!r}, cannot be read: {reason}") from error
