"""The A/A control of a board, the baseline against itself: what rows are held against, and what it warns of."""

from __future__ import annotations

from collections.abc import Sequence

from joulemark.judging.rules import BASELINE, Board
from joulemark.judging.stability import CONTROL_WARNINGS, control_warnings
from joulemark.record import Ratio, Trial
from joulemark.report.costs import home_timing, own_ratio, timing_at


def control_of(baselines: Sequence[Trial], board: Board, backend: str, batch_size: int) -> Ratio | None:
    """The A/A control on one backend at one batch size, in the cost of a measured board; of a model there is none.

    Where the baselines have no windows on that backend, it is that of the backend that speaks for them.
    """
    if not board.needs_real:
        return None
    own = own_ratio([timing_at(baseline, backend, batch_size) for baseline in baselines], board)
    return own or own_ratio([home_timing(baseline, batch_size) for baseline in baselines], board)


def controls(baselines: Sequence[Trial], board: Board, backends: Sequence[str], batch_size: int) -> dict[str, Ratio]:
    """The A/A control of every backend on which the baselines were measured at one batch size."""
    if not board.needs_real:
        return {}
    found = {
        name: own_ratio([timing_at(baseline, name, batch_size) for baseline in baselines], board) for name in backends
    }
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def unsteady_flags(trials: Sequence[Trial], batch_size: int) -> tuple[str, ...]:
    """Name what made the machine unsteady while a row was measured; the page has the sentences.

    A record names what is wrong with the A/A control of the headline; here it is that of the board's batch size.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.warnings if name not in CONTROL_WARNINGS)
    homes = [home_timing(trial, batch_size) for trial in trials if trial.technique == BASELINE]
    names |= dict.fromkeys(name for home in homes if home is not None for name in control_warnings(home))
    return (f"unsteady: {', '.join(names)}",) if names else ()
