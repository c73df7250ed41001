"""What a run would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from joulemark.benchmarking.baselines import published
from joulemark.benchmarking.chains import Chain, attempts_of, chain_name, refuse_thin
from joulemark.benchmarking.own_limits import why_not
from joulemark.benchmarking.session import Session
from joulemark.data import readers
from joulemark.judging.rules import boards
from joulemark.nets.net import builders
from joulemark.vocabulary import unknown_name_message


def plan(session: Session, chains: Sequence[Chain]) -> list[str]:
    """The steps, one line each.

    Raises ``ValueError`` for what cannot be run: an unknown name, more threads than cores, a chain beyond the budget.
    Whether the data have as many images and classes as the task says is seen when they are read.
    """
    suite = session.suite
    refuse_unknown(session)
    refuse_thin(suite, chains)
    lines = []
    for seed in suite.seeds:
        given = not session.fresh and published(suite.task, seed) is not None
        lines.append(
            f"take the net that is given as the baseline, seed {seed}" if suite.task.own is not None else
            f"take the baseline that comes with the package, seed {seed}" if given else
            f"train the baseline, seed {seed}: {suite.task.recipe.epochs} epochs"
        )  # fmt: skip
    for chain in chains:
        if (reason := why_not(suite.task, chain)) is not None:
            lines.append(f"{chain_name(chain)}: not run, {reason}")
            continue
        attempts, (_, epochs) = attempts_of(suite, chain), suite.budget.of(chain[0].start)
        many = f"{attempts} {'attempt' if attempts == 1 else 'attempts'} of {epochs} epochs"
        lines += [f"{chain_name(chain)}, seed {seed}: at most {many}" for seed in suite.seeds]
    boards_count = len(boards(suite.models)) * len(suite.limits_points)
    lines.append(
        f"measure and test the baseline and the winners of {boards_count} boards, seeds {_listed(suite.seeds)}: "
        f"{suite.measuring.blocks} blocks each, batch {_listed(suite.batch_sizes)}, on {_listed(suite.backends)}"
    )
    if suite.free:
        lines.append("measure what costs nothing: runtimes, threads, batch sizes, layout, compilation, precision")
    return lines


def refuse_unknown(session: Session) -> None:
    """Raise ``ValueError`` for a suite that names what is not there."""
    suite, cores = session.suite, session.machine.cores
    _ = session.backends, session.models  # they say themselves what is not known
    for what, name, known in (
        ("data set", suite.task.data, readers()),
        ("builder", suite.task.recipe.builder, builders()),
    ):
        if name not in known:
            raise ValueError(f"task {suite.task.name}: {unknown_name_message(what, name, known)}")
    if suite.threads > cores:
        raise ValueError(f"the suite asks for {suite.threads} threads, and there are {cores} cores here: ask for fewer")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
