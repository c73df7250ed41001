"""A technique that failed, and its error in one sentence."""

from __future__ import annotations


class AttemptError(ValueError):
    """A technique failed; the message is one sentence for the board."""


def sentence(error: BaseException) -> str:
    """The message of an error as one line that can be stored and printed, whatever is in it."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
