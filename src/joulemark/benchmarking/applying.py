"""Applying a chain of techniques to a net, or a recipe to a fresh one: all that decides a net."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from joulemark.benchmarking.chains import Chain, chain_name, shares
from joulemark.benchmarking.errors import AttemptError, sentence
from joulemark.benchmarking.own_functions import loss_and_augment
from joulemark.benchmarking.workbench import Bench
from joulemark.machine.atomic_files import StoreError
from joulemark.machine.time_limit import TimeLimit, time_limit
from joulemark.nets.net import Net
from joulemark.record import content_key
from joulemark.techniques.technique import Technique
from joulemark.training import sgd

if TYPE_CHECKING:
    from joulemark.benchmarking.ledger import Ledger
    from joulemark.benchmarking.session import Session, StoredNet

Knobs = Sequence[Mapping[str, Any]]
"""The knobs of each link of a chain, in order; of the baseline none."""


def applied(
    session: Session,
    chain: Chain,
    knobs: Knobs,
    seed: int,
    baseline: StoredNet | None,
    ledger: Ledger,
    *,
    code_of: Callable[[Technique], Mapping[str, str]],
) -> tuple[Net, dict[str, Any]]:
    """The net and the notes on it, by the baseline's recipe or by a chain of techniques, each on its own workbench.

    ``code_of`` gives the trace that the shared steps of a technique depend on. Raises :class:`AttemptError` if a
    technique raises, hangs or returns something that is not a usable net.
    """
    suite = session.suite
    # The thread count decides the last digits: it must not depend on what this process measured before.
    torch.set_num_threads(session.machine.cores)
    if baseline is None:
        return _trained(session, seed, ledger), {}
    net = baseline.net
    notes: dict[str, Any] = {}
    budget = suite.budget.of(chain[0].start)[1]
    for place, (one, own, epochs) in enumerate(zip(chain, knobs, shares(chain, budget), strict=True)):
        # What other knob settings of the chain may share depends on this technique, its code, what its workbench
        # answers by, the net that comes in and the seed. Another chain shares nothing: its row has to show what it
        # costs by itself.
        answers = (max(suite.limits_points), suite.backends[0], suite.threads, session.filled[:1])
        around = (chain_name(chain), one.name, code_of(one), answers, session.unpinned)
        begins = net.hash if place else baseline.hash
        shared = f"shared-{content_key(*around, begins, seed, epochs)}"
        # A technique may stand in a chain several times: its steps and its notes are told apart by their place.
        with ledger.inside(f"part-{place}") if len(chain) > 1 else contextlib.nullcontext():
            bench = _bench(session, seed, ledger, one.granted(epochs), shared)
            returned = _called(one, net, bench, own, suite.budget.minutes)
        if bench.search_epochs:
            bench.note("search", {"epochs": bench.search_epochs, "image_passes": bench.searched})
        notes |= {_note_name(name, one.name, place, notes): value for name, value in bench.notes.items()}
        net = usable(returned, one.name, suite.task.classes)
    return net, notes


def _trained(session: Session, seed: int, ledger: Ledger) -> Net:
    """The baseline by its recipe."""
    task = session.suite.task
    recipe = task.recipe
    try:
        fresh = Net.new(recipe.builder, task.input_shape, seed=seed, **recipe.options)
    except (ValueError, TypeError) as error:
        raise AttemptError(f"the baseline of task {task.name} cannot be built: {sentence(error)}") from error
    optimiser = sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    bench = _bench(session, seed, ledger, (recipe.epochs, 0))
    try:
        return bench.fit(fresh, epochs=recipe.epochs, optimiser=optimiser)
    except StoreError:
        raise  # a full disk is no builder's fault
    except Exception as error:  # where builder and inputs do not fit together, torch raises anything
        raise AttemptError(f"the baseline of task {task.name} cannot be trained: {sentence(error)}") from error


def _bench(session: Session, seed: int, ledger: Ledger, epochs: tuple[int, int], shared: str = "shared") -> Bench:
    """A workbench with its own budget of ``epochs`` to train and to search, and its own notes."""
    suite = session.suite
    loss, augment = loss_and_augment(suite.task)
    return Bench(
        task=suite.task,
        seed=seed,
        limit_points=max(suite.limits_points),
        epochs=epochs[0],
        splits={name: split for name, split in session.splits.items() if name != "test"},
        backend=session.backends[0],
        threads=suite.threads,
        training_threads=session.machine.cores,
        model=session.models[0],
        ledger=ledger,
        shared=shared,
        search_epochs=epochs[1],
        going=session.going,
        loss=loss,
        augment=augment,
    )


def _note_name(name: str, technique: str, place: int, taken: Container[str]) -> str:
    """A note's own name; of those that are taken by what came before, with the technique's, or with its place too.

    >>> _note_name("rounds", "magnitude", 2, {"rounds"}), _note_name("rounds", "magnitude", 2, {})
    ('magnitude.rounds', 'rounds')
    >>> _note_name("rounds", "magnitude", 2, {"rounds", "magnitude.rounds"})
    'magnitude.3.rounds'
    """
    names = (name, f"{technique}.{name}", f"{technique}.{place + 1}.{name}")
    return next((one for one in names if one not in taken), names[-1])


def _called(one: Technique, net: Net, bench: Bench, knobs: Mapping[str, Any], minutes: float) -> Any:
    """What a technique returns. It gets a copy of the net, and what it prints goes where messages go.

    Raises :class:`AttemptError` if it raises or takes longer than ``minutes``.
    """
    process = os.getpid()
    own = Net.from_bytes(net.to_bytes())  # one that writes into its tensors must not change the others' baseline
    try:
        with time_limit(minutes * 60.0), contextlib.redirect_stdout(sys.stderr):
            return one(own, bench, **knobs)
    except TimeLimit as error:
        raise AttemptError(f"{one.name} ran longer than {minutes:g} minutes and was stopped") from error
    except (StoreError, KeyboardInterrupt):
        raise  # a full disk is nobody's technique, and a person may stop the run
    except BaseException as error:  # anybody's code: what it raises is its row's reason
        raise AttemptError(f"{one.name} raised {type(error).__name__}: {sentence(error)}") from error
    finally:
        _restore(process)


def _restore(process: int) -> None:
    """Undo what a technique may have left behind: a forked copy of this process, PyTorch's global defaults."""
    if os.getpid() != process:
        os._exit(1)  # the child of a fork must not go on with the run
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)  # "cpu" would stand in the way of every later operator, and be timed with it
    torch.set_grad_enabled(True)


def usable(returned: Any, name: str, classes: int) -> Net:
    """``returned`` as it is read back, if it can be saved, built and run; else :class:`AttemptError` says why not."""
    if not isinstance(returned, Net):
        raise AttemptError(f"{name} returned {type(returned).__name__}, not a Net")
    try:
        data = returned.to_bytes()
        net = Net.from_bytes(data)
        same = net.to_bytes() == data
    except Exception as error:  # what a net holds is anybody's
        raise AttemptError(f"{name} returned a net that cannot be saved: {sentence(error)}") from error
    if not same:
        raise AttemptError(f"{name} returned a net that is another one when saved and read")
    try:
        module = net.module()
        with torch.no_grad():
            logits = getattr(module, "run", module)(torch.zeros(2, *net.input_shape))
        finite = bool(torch.isfinite(logits).all())
    except Exception as error:  # the same: a net is made of anybody's builder
        raise AttemptError(f"{name} returned a net that does not run: {sentence(error)}") from error
    if tuple(logits.shape) != (2, classes):
        raise AttemptError(f"{name} returned a net with outputs of shape {tuple(logits.shape)}, not (2, {classes})")
    if not finite:
        raise AttemptError(f"{name} returned a net whose outputs are not finite")
    return net
