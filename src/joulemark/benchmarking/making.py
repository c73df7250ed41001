"""Making a net: the baseline, or what a chain of techniques makes of it, metered and kept with its record."""

from __future__ import annotations

from joulemark.benchmarking.applying import Knobs, applied
from joulemark.benchmarking.chains import Chain, chain_name
from joulemark.benchmarking.ledger import Ledger
from joulemark.benchmarking.session import Session, StoredNet
from joulemark.benchmarking.tracing import key_of, made_by, making_roots
from joulemark.judging.trace import changed, trace
from joulemark.record import Made, Making, Quantity, content_key
from joulemark.vocabulary import listening


def made_inputs(session: Session, chain: Chain, knobs: Knobs, seed: int, baseline: StoredNet | None) -> str:
    """Digest of all that goes into a net to be made, but for code.

    A baseline depends on less than what techniques make: on no backend, model, limit or budget.
    """
    suite = session.suite
    if not chain:
        return content_key("made", suite.task.key, seed, *session.unpinned)
    return content_key(
        "made", suite.task.key, chain_name(chain), knobs, seed, [suite.budget.of(one.start) for one in chain],
        max(suite.limits_points), suite.backends[0], suite.threads, session.filled[:1],
        baseline.hash if baseline else None, *session.unpinned,
    )  # fmt: skip


def make_net(session: Session, inputs: str, chain: Chain, knobs: Knobs, seed: int, baseline: StoredNet | None) -> Made:
    """Make one net and store it with its record, or return the record that the code of now made already.

    ``inputs`` is the digest of the others (:func:`made_inputs`); ``baseline`` is the trained net of the same seed;
    ``None`` (with an empty chain) trains it now. Raises :class:`AttemptError` if a technique raises, hangs or returns
    something that is not a usable net.
    """
    # Steps of an unfinished making belong to the code that began it.
    steps = key_of(inputs, trace(making_roots(session, chain)))
    kept = session.current(Made, inputs)
    if kept is not None and session.net(kept.net) is not None:
        session.store.remove(f"steps/{steps}")  # a run killed right after storing the record left them
        return kept
    ledger = Ledger(session.store, steps, trace=trace, changed=changed)
    with session.meters.window() as window, listening() as heard:
        net, notes = applied(
            session, chain, knobs, seed, baseline, ledger, code_of=lambda one: trace(making_roots(session, [one]))
        )
    cost, joules = ledger.cost, window.joules
    if ledger.interrupted:
        notes["interrupted"] = True  # the seconds between its last finished step and the stop were not kept
        joules = _unknown(joules, "the attempt was interrupted; the joules before the restart were not kept")
    own = session.suite.task.own
    if own is not None and not own.isolated:
        notes["isolated"] = False  # made of live objects, in the process that holds them
    code = made_by(session, chain, heard, [net, *([baseline.net] if baseline else [])])
    made = Made(
        key=key_of(inputs, code),
        task=session.suite.task.name,
        task_key=session.suite.task.key,
        technique=chain_name(chain),
        knobs=tuple(dict(link) for link in knobs),
        seed=seed,
        start=baseline.hash if baseline else None,
        net=session.save_net(net),
        making=Making(
            seconds=cost.seconds, cpu_seconds=cost.cpu_seconds, image_passes=cost.image_passes, joules=joules
        ),
        notes=notes,
        code=code,
        provenance=session.provenance(),
    )
    session.store.put(made)
    session.store.remove(f"steps/{steps}")
    return made


def _unknown(quantity: Quantity, reason: str) -> Quantity:
    return Quantity(
        value=None, unit=quantity.unit, kind=quantity.kind, method=quantity.method, scope=quantity.scope,
        source=quantity.source, flags=quantity.flags, reason=quantity.reason or reason,
    )  # fmt: skip
