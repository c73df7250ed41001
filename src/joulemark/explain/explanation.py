"""What one thing is: a technique, an energy model, a backend, a meter or a net, explained by its own file.

A technique is explained from its docstrings and its signature, by what backends say of a net that it makes on the spot,
and by what stored results say that it reached. A third party's is explained exactly as ours are.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from joulemark import testing
from joulemark.backends.backend import backend, backend_names, simulated
from joulemark.benchmarking.applying import usable
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.errors import AttemptError, sentence
from joulemark.energy.model import LEARNED, energy_model, energy_model_names
from joulemark.explain import listing
from joulemark.machine.time_limit import TimeLimit, time_limit
from joulemark.nets.net import Net, builders, usual_input_shape
from joulemark.record import Ratio, Record
from joulemark.report.board import build_board
from joulemark.report.results import Results
from joulemark.report.verdicts import row_verdict
from joulemark.techniques.paper import Paper, read_paper
from joulemark.techniques.technique import Technique, file_techniques, load_technique, technique_names
from joulemark.vocabulary import module_of, unknown_name_message
from joulemark.vocabulary import names as names_of

EXAMPLE_SECONDS = 240.0
"""A technique that has not made its example by then is stopped."""


class Knob(Record, frozen=True, kw_only=True):
    """A knob with what it may be set to."""

    name: str
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    searched: bool = False


class Execution(Record, frozen=True, kw_only=True):
    """How a backend runs a net of the technique: "real", "simulated" or, if it cannot be told, "unknown"."""

    backend: str
    execution: str
    reason: str | None = None


class Reached(Record, frozen=True, kw_only=True):
    """Where a technique stands on one board of stored results."""

    suite: str
    hardware_class: str
    board: str
    limit_points: float
    folder: str  # where its records lie
    technique: str  # with fixed knobs, or in a composition
    status: str
    ratio: Ratio | None
    remark: str | None


class Explanation(Record, frozen=True, kw_only=True):
    """One thing explained; the later fields are of techniques alone."""

    name: str
    kind: str
    title: str
    details: tuple[str, ...]  # paragraphs; what is indented is to stay as it is
    file: str | None
    line: int | None
    facts: dict[str, tuple[str, ...]] = {}
    paper: Paper | None = None
    knobs: tuple[Knob, ...] = ()
    executions: tuple[Execution, ...] = ()
    reached: tuple[Reached, ...] = ()


def explain(
    name: str,
    *,
    results: Sequence[Results] = (),
    files: Sequence[Path] = (),
    otherwise: Callable[[], Sequence[Results]] = tuple,
) -> Explanation:
    """Explain the thing of that name; techniques in ``files`` are known too, as is ``name:knob=value``.

    ``otherwise`` gives other results for a technique of which ``results`` know nothing.

    Raises ``ValueError`` for a name that nothing has, offering the nearest, and for a claim without its conditions.
    """
    if "+" in name or ":" in name:  # as boards call compositions and techniques with fixed knobs
        chain = chains_of([name], files)[0]
        if len(chain) > 1:
            raise ValueError(f"{name} is a composition: explain {' and '.join(one.name for one in chain)} one by one")
        return explain_technique(chain[0], results, otherwise)
    own = [one.name for path in files for one in file_techniques(path)]
    known: dict[str, Callable[[str], Explanation]] = {
        **dict.fromkeys(builders(), explain_net),
        **dict.fromkeys(names_of("meter"), explain_meter),
        **dict.fromkeys(backend_names(), explain_backend),
        **dict.fromkeys(energy_model_names(), explain_model),
        LEARNED: explain_learned,
        **dict.fromkeys(
            [*technique_names(), *own], lambda one: explain_technique(load_technique(one, files), results, otherwise)
        ),
    }
    if name not in known:
        raise ValueError(unknown_name_message("name", name, known))
    return known[name](name)


def explain_technique(
    technique: Technique,
    results: Sequence[Results] = (),
    otherwise: Callable[[], Sequence[Results]] = tuple,
) -> Explanation:
    """Paper, knobs, how backends run it and what it reached. Makes a small net by it: a few seconds."""
    module = inspect.getmodule(technique.function)
    try:
        paper = read_paper((module and module.__doc__) or technique.summary)
    except ValueError as error:
        raise ValueError(f"{technique.name}: {error}") from error
    start = {"trained": "the trained baseline", "scratch": "nothing: it trains anew"}[technique.start]
    return Explanation(
        name=technique.name,
        kind="technique",
        title=paper.title,
        details=paragraphs(technique.function.__doc__),
        **place(technique.function),
        facts={
            "Family": (technique.family,),
            "Paper": (technique.paper,),
            "Starts from": (start,),
            "Takes a net that is": (_axes(technique.takes),),
            "Gives a net that is": (_axes(technique.gives),),
        },
        paper=paper,
        knobs=tuple(_knobs(technique)),
        executions=tuple(executions(technique)),
        reached=tuple(reached(technique.name, results)) or tuple(reached(technique.name, otherwise())),
    )


def executions(technique: Technique) -> Iterator[Execution]:
    """Ask every backend about a net that the technique makes of a small trained LeNet, its knobs at their defaults."""
    names = sorted(backend_names())
    try:
        made = example(technique)
    except AttemptError as error:
        yield from (Execution(backend=name, execution="unknown", reason=str(error)) for name in names)
        return
    for name in names:
        try:
            reason = simulated(made, backend(name))
        except ImportError as error:
            yield Execution(backend=name, execution="unknown", reason=f"it is not installed here: {error}")
            continue
        yield Execution(backend=name, execution="simulated" if reason else "real", reason=reason)


def example(technique: Technique) -> Net:
    """A net made on generated images as in the checks of :mod:`joulemark.testing`; else :class:`AttemptError`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the checks; on a busy machine several would wait for each other
    try:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), time_limit(EXAMPLE_SECONDS):
            made = technique(testing.baseline(), testing.workbench(folder, technique=technique))
        return usable(made, technique.name, testing.TASK.classes)
    except TimeLimit as error:
        raise AttemptError(f"it did not make a small net within {EXAMPLE_SECONDS:.0f} s") from error
    except AttemptError:
        raise
    except Exception as error:  # a technique is anybody's code
        raise AttemptError(f"it makes nothing of a small LeNet: {type(error).__name__}: {sentence(error)}") from error
    finally:
        torch.set_num_threads(threads)


def reached(name: str, results: Sequence[Results]) -> Iterator[Reached]:
    """Every row of the technique on every board, with fixed knobs and in compositions too."""
    for known in results:
        parts = {
            t: {name for part in t.split("+") for name in (part, part.partition(":")[0])} for t in known.techniques
        }
        mine = {t for t, names in parts.items() if name in names}
        for limit in known.limits_points if mine else ():
            for board in known.boards:
                view = build_board(known, board, limit)
                where = {
                    "suite": known.suite_name, "hardware_class": known.hardware_class, "board": board.title,
                    "folder": known.folder,
                }  # fmt: skip
                rows = [row for row in (*view.rows, *view.ineligible) if row.technique in mine]
                for row in rows:
                    remarks = [text for text in (row.reason, row_verdict(view, row), *row.flags) if text]
                    yield Reached(
                        **where, limit_points=limit, technique=row.technique, status=row.status, ratio=row.ratio,
                        remark="; ".join(remarks) or None,
                    )  # fmt: skip
                if not rows:
                    yield Reached(
                        **where, limit_points=limit, technique=name, status="empty", ratio=None, remark=view.note
                    )  # fmt: skip


def explain_model(name: str) -> Explanation:
    """An energy model by its module and its sources."""
    model = energy_model(name)
    return of_module(name, "energy model", _module_of(model), facts={"Sources": tuple(model.sources)})


def explain_learned(name: str) -> Explanation:
    """The learned energy model, also where no profile is."""
    module = module_of("model from a file", LEARNED)
    return of_module(name, "energy model", module, facts={"Sources": tuple(module.SOURCES)})


def explain_backend(name: str) -> Explanation:
    """A backend by its module, with whether it runs here and what it only simulates."""
    try:
        one = backend(name)
    except ImportError as error:
        raise ValueError(f"the backend {name!r} is not installed here: {error}") from error
    facts = {
        "Runs here": (one.unavailable() or "yes",),
        "Precision": (one.precision,),
        "Simulates": (" ".join((inspect.getdoc(type(one).simulated) or "").split()),),
    }
    return of_module(name, "backend", _module_of(one), facts=facts)


def explain_meter(name: str) -> Explanation:
    """A meter by its module, with what it finds on this machine."""
    rows = [row for row in listing.meters(cited=True) if str(row["meter"]).split()[0] == name]
    here = tuple(": ".join(str(row[key]) for key in ("meter", "status", "detail")) for row in rows)
    return of_module(name, "meter", module_of("meter", name), facts={"Here": here} if here else {})


def explain_net(name: str) -> Explanation:
    """A net by the module of its builder, with the channels that structured pruning may cut from it."""
    return of_module(name, "net", module_of("builder", name), facts=_channels(name))


def _channels(name: str) -> dict[str, tuple[str, ...]]:
    """Which channels of a freshly built net go together, and which layers are left whole and why."""
    from joulemark.nets.dependencies import channel_ties

    shape = usual_input_shape(name)
    if shape is None:
        return {}
    try:
        ties = channel_ties(Net.new(name, shape, seed=0))
    except (ValueError, RuntimeError) as error:
        return {"Channels": (f"cannot be judged: {error}",)}
    offered = tuple(
        f"{group.channels} of {', '.join(one.layer for one in group.members if one.axis == 'outputs')}"
        for group in ties.groups
    )
    whole = tuple(f"{path or 'the net itself'}: {why}" for path, why in ties.whole.items())
    return {"Channels that may be cut": offered, "Layers left whole": whole}


def of_module(
    name: str, kind: str, module: ModuleType, facts: Mapping[str, tuple[str, ...]] | None = None
) -> Explanation:
    """Explain by a module's docstring: its first paragraph is the title."""
    title, *details = paragraphs(module.__doc__) or (name,)
    return Explanation(
        name=name, kind=kind, title=title, details=tuple(details), **place(module), facts=dict(facts or {})
    )


def paragraphs(docstring: str | None) -> tuple[str, ...]:
    r"""Paragraphs of a docstring, each one line; those that start indented keep their lines.

    >>> paragraphs('''One
    ... sentence.
    ...
    ...     x = 1
    ...     y = 2
    ... ''')
    ('One sentence.', '    x = 1\n    y = 2')
    """
    parts = [part.strip("\n") for part in inspect.cleandoc(docstring or "").split("\n\n") if part.strip()]
    return tuple(part if part.startswith(" ") else " ".join(part.split()) for part in parts)


def place(thing: Any) -> dict[str, Any]:
    """File and line where something is written; ``None`` where Python does not know."""
    try:
        return {"file": inspect.getsourcefile(thing), "line": max(1, inspect.getsourcelines(thing)[1])}
    except (TypeError, OSError):
        return {"file": None, "line": None}


def _module_of(thing: object) -> ModuleType:
    return sys.modules[type(thing).__module__]


def _axes(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))


def _knobs(technique: Technique) -> Iterator[Knob]:
    for name, default in technique.knobs.items():
        span, choices = technique.ranges.get(name), technique.choices.get(name, ())
        yield Knob(
            name=name,
            default=default,
            low=span.low if span else None,
            high=span.high if span else None,
            choices=tuple(map(str, choices)),
            searched=name == technique.knob,
        )
