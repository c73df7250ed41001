"""What a record was made, judged or measured by: the roots of its trace.

Roots are the modules that do the work, those that the task, the suite and the technique name, and those that the names
in its nets lead to. What a technique looked up while it ran is a root, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from joulemark.judging.trace import trace
from joulemark.nets.net import Net
from joulemark.record import content_key
from joulemark.vocabulary import module_of, names

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session
    from joulemark.techniques.technique import Technique

SESSION = "joulemark.benchmarking.session"
"""What every step asks for data, backends and compiled nets; it brings the meters."""
MAKING = (
    "joulemark.training",
    *(f"joulemark.benchmarking.{name}" for name in ("making", "applying", "workbench")),
    SESSION,
)
JUDGING = ("joulemark.benchmarking.attempt", "joulemark.benchmarking.placing", SESSION)
MEASURING = ("joulemark.benchmarking.trial", "joulemark.benchmarking.placing", SESSION)
FREE = ("joulemark.benchmarking.free", SESSION)


def made_by(session: Session, chain: Sequence[Technique], heard: Iterable[str], nets: Iterable[Net]) -> dict[str, str]:
    """The trace of a making: ``heard`` are modules looked up meanwhile, ``nets`` what it began and ended with."""
    return trace({*making_roots(session, chain), *heard, *modules_of(nets)})


def making_roots(session: Session, chain: Sequence[Technique]) -> list[str]:
    """What a making depends on before it begins: a workbench has the suite's first backend and model, and no other."""
    roots = [*MAKING, *asked(session)]
    if chain:
        guides = [type(one[0]).__module__ for one in (session.backends, session.models)]
        roots += [*(one.function.__module__ for one in chain), *guides]
    return roots


def judged_by(session: Session, nets: Iterable[Net]) -> dict[str, str]:
    """The trace of an attempt's judgement."""
    return trace({*JUDGING, *asked(session), *judges(session), *modules_of(nets)})


def measured_by(session: Session, nets: Iterable[Net]) -> dict[str, str]:
    """The trace of a trial."""
    return trace({*MEASURING, *asked(session), *judges(session), *modules_of(nets)})


def free_by(session: Session, net: Net, backend: object | None) -> dict[str, str]:
    """The trace of a free trial, which ``backend`` ran (``None``: it could not be opened)."""
    opened = [type(backend).__module__] if backend is not None else []
    return trace({*FREE, *asked(session), *judges(session), *opened, *modules_of([net])})


def key_of(inputs: str, code: Mapping[str, str]) -> str:
    """The key of a record: the digest of its inputs, then that of its trace. Records of other code stand beside it."""
    return f"{inputs}-{content_key(code)[:8]}"


def asked(session: Session) -> list[str]:
    """What deals the data, and the modules that the task names: their reader and the builder of its net."""
    task = session.suite.task
    named = [module_of("data set", task.data).__name__, module_of("builder", task.recipe.builder).__name__]
    return ["joulemark.data", *named]


def judges(session: Session) -> list[str]:
    """Modules that the suite and its task name to judge by: backends, energy models, the metric."""
    suite = session.suite
    opened = [type(one).__module__ for one in (*session.backends, *session.models)]
    named = [*(("backend", name.partition(":")[0]) for name in suite.backends), ("metric", suite.task.metric)]
    models = [name.partition(":")[0] for name in suite.models]
    named += [("energy model", name) for name in models if name in names("energy model")]
    # Where one is made by a function, the function counts as well as the class of what it made.
    return [*opened, *(module_of(kind, name).__name__ for kind, name in named)]


def modules_of(nets: Iterable[Net]) -> set[str]:
    """The modules that the names in some nets lead to: builders, edits, kinds of layer, routers, those of parts too."""
    return {module_of(kind, name).__name__ for net in nets for kind, name in _named(net)}


def _named(net: Net) -> Iterator[tuple[str, str]]:
    if net.parts:
        for part in net.parts.values():
            yield from _named(part)
    else:
        yield "builder", net.builder
        yield from (("edit", str(edit.get("edit"))) for edit in net.edits)
    yield from (("kind of layer", form.kind) for form in net.formats.values())
    if net.route is not None:
        yield from (("router", one.router) for one in net.route.exits)
