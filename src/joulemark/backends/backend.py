"""The contract of a backend: run a net for real, and say which nets it has real kernels for.

A *variant* is a backend with options that change no weight, written ``eager:bf16,channels_last``. A backend that has
some offers ``options`` (names and what they do) and ``with_options``; all else about a variant is as of any backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from joulemark.nets.formats import layer_kind
from joulemark.nets.net import Net
from joulemark.vocabulary import look_up, names, unknown_name_message

Images = NDArray[np.float32]

WORKLOAD_IMAGES = 200
"""Validation images that a workload is recorded of."""
DENSE_AS = {"sparse": "eager"}
"""Backends that run a net without masks exactly as another one does: beside it nothing is learnt of such a net."""


class Compiled(Protocol):
    """A net made ready to run. What is timed is exactly ``run``; accuracy comes from the same object."""

    def run(self, images: Images) -> Images:
        """Logits (rows, classes) of images (rows, ...), both float32."""
        ...


@runtime_checkable
class CompiledExits(Compiled, Protocol):
    """A compiled net that can also answer at every exit: for choosing thresholds on what will really run."""

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits (rows, classes) of every exit that has some, in order, for all rows: none leaves on the way."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A runtime with its precision pinned: fp32 means fp32.

    ``kernels`` lists the words of :meth:`joulemark.nets.net.Net.needs` that it has real kernels for. Whatever a net
    needs and the list lacks is simulated.
    """

    name: str
    title: str
    precision: str
    kernels: frozenset[str]

    def unavailable(self) -> str | None:
        """Why this backend cannot run here, with what to do; ``None`` if it can."""
        ...

    def simulated(self, net: Net) -> str | None:
        """Why running this net here only simulates its savings; ``None`` if real kernels execute all of them.

        At least what :func:`unlisted` says; more where a kernel is real for some nets only.
        """
        ...

    def compile(self, net: Net, *, threads: int) -> Compiled:
        """The net ready to run on ``threads`` threads. Raises ``ValueError`` for a net it cannot run."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """A backend that has variants."""

    options: Mapping[str, str]  # name -> what it does, in a few words

    def with_options(self, options: Sequence[str]) -> Backend:
        """The variant with these options, all of them among ``options``."""
        ...


def backend(name: str) -> Backend:
    """The backend of that name, or a variant of it ("eager:bf16,channels_last").

    ``ValueError`` for an unknown name or option, offering the nearest.
    """
    plain, colon, words = name.partition(":")
    make = look_up("backend", plain)
    made = make() if callable(make) else make
    if not isinstance(made, Backend):
        where = names("backend")[plain]
        raise ValueError(f"backend {plain!r} ({where}) is not a backend: it lacks part of the contract")
    if not colon:
        return made
    options = [word.strip() for word in words.split(",")]
    offered = made.options if isinstance(made, Configurable) else {}
    for option in options:
        if option not in offered:
            raise ValueError(unknown_name_message(f"option of backend {plain!r}:", option, offered))
    return made.with_options(options) if isinstance(made, Configurable) else made


REASONS = {
    "zeros": "unstructured zeros are multiplied like any number (no sparse kernel in {title})",
    "mask": "masked layers are exported dense: {title} computes what they mask too",
    "int8": "integers are simulated in floats (no int8 kernel in {title})",
}
"""What happens to a net on a backend without the kernel that it needs, in words; other kernels: in general words."""


def unlisted(net: Net, backend: Backend) -> str | None:
    """Why ``net`` is only simulated on ``backend``: the first word that it needs and the backend does not list."""
    lacking = net.needs() - backend.kernels
    if not lacking:
        return None
    word = next((known for known in REASONS if known in lacking), min(lacking))
    reason = REASONS.get(word, f"{{title}} has no kernel for {word}: what that saves is simulated")
    return reason.format(title=backend.title)


def simulated(net: Net, backend: Backend) -> str | None:
    """Why ``net`` is only simulated on ``backend``, by the words or by the backend's own judgement; else ``None``."""
    return unlisted(net, backend) or backend.simulated(net)


def precision_of(net: Net, backend: Backend) -> str:
    """What the products of ``net`` are really computed in on ``backend``.

    The word of the kernel ("int8") if all layers that multiply have formats of that word and the backend lists it,
    "mixed" if only some have or the words differ, and the backend's own precision if none has, or one is simulated.
    """
    formats = net.all_formats
    words = {layer_kind(form.kind).needs(form) for form in formats.values()}
    if not words or not words <= backend.kernels:
        return backend.precision
    weights = {path: getattr(layer, "weight", None) for path, layer in net.module(formats=False).named_modules()}
    products = {path for path, weight in weights.items() if weight is not None and weight.dim() > 1}
    return min(words) if len(words) == 1 and products <= formats.keys() else "mixed"


def without_masks(net: Net) -> Net:
    """``net`` without its own masks and those of its parts; its weights stay as they are."""
    return net.replace(masks={}, parts={name: without_masks(part) for name, part in net.parts.items()})


def variant_name(plain: str, options: Iterable[str]) -> str:
    """The one name of a variant, whatever the order of its options.

    >>> variant_name("eager", ["channels_last", "bf16"]), variant_name("eager", [])
    ('eager:bf16,channels_last', 'eager')
    """
    words = ",".join(sorted(set(options)))
    return f"{plain}:{words}" if words else plain


def backend_names() -> dict[str, str]:
    """Names of all backends and where they are."""
    return names("backend")
