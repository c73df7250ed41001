"""The baseline of a user's own task: the net that he gives, whose making is not known and costs nothing here."""

from __future__ import annotations

from joulemark.benchmarking.making import made_inputs
from joulemark.benchmarking.own_net import own_net, weights_digest
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.tracing import key_of, made_by
from joulemark.record import Kind, Made, Making, Quantity
from joulemark.task import BASELINE
from joulemark.vocabulary import listening


def given_baseline(session: Session, seed: int) -> Made:
    """The record of the given net, stored with it, or the one that is stored already.

    The same net for every seed. Raises ``ValueError`` if the task file gives another net than when it was opened.
    """
    task = session.suite.task
    inputs = made_inputs(session, (), (), seed, None)
    kept = session.current(Made, inputs)
    if kept is not None and session.net(kept.net) is not None:
        return kept
    with listening() as heard:
        net = own_net(task.data, session.splits["validation"].images[:8])
    if task.own is not None and weights_digest(net) != task.own.net:
        raise ValueError(f"net() of {task.name} gives other weights each time: let it load what was trained")
    code = made_by(session, (), heard, [net])
    unknown = Quantity(
        value=None, unit="J", kind=Kind.MEASURED, method="", scope="", source="", reason="the net was given, trained"
    )
    made = Made(
        key=key_of(inputs, code),
        task=task.name,
        task_key=task.key,
        technique=BASELINE,
        knobs=(),
        seed=seed,
        start=None,
        net=session.save_net(net),
        making=Making(seconds=0.0, cpu_seconds=0.0, image_passes=0, joules=unknown),
        notes={"given": True},
        code=code,
        provenance=session.provenance(),
    )
    session.store.put(made)
    return made
