"""What a run would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from joulemark.benchmark.baselines import published
from joulemark.benchmark.chains import Chain, attempts_of, chain_name, refuse_thin
from joulemark.benchmark.session import Session
from joulemark.rules import boards


def plan(session: Session, chains: Sequence[Chain]) -> list[str]:
    """The steps, one line each. Raises ``ValueError`` for an unknown name and for a chain beyond the budget."""
    suite = session.suite
    _ = session.backends, session.models  # a name that is not known is said before anything runs
    refuse_thin(suite, chains)
    lines = []
    for seed in suite.seeds:
        given = not session.fresh and published(suite.task, seed) is not None
        lines.append(
            f"take the baseline that comes with the package, seed {seed}" if given else
            f"train the baseline, seed {seed}: {suite.task.recipe.epochs} epochs"
        )  # fmt: skip
    for chain in chains:
        attempts, (_, epochs) = attempts_of(suite, chain), suite.budget.of(chain[0].start)
        lines += [
            f"{chain_name(chain)}, seed {seed}: at most {attempts} attempts of {epochs} epochs" for seed in suite.seeds
        ]
    boards_count = len(boards(suite.models)) * len(suite.limits_points)
    lines.append(
        f"measure and test the baseline and the winners of {boards_count} boards, seeds {_listed(suite.seeds)}: "
        f"{suite.measuring.blocks} blocks each, batch {_listed(suite.batch_sizes)}, on {_listed(suite.backends)}"
    )
    if suite.free:
        lines.append("measure what costs nothing: runtimes, threads, batch sizes, layout, compilation, precision")
    return lines


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
