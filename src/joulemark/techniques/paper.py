"""What the file of a technique says of its paper, in sections that a person and `joulemark explain` both read.

The module's docstring starts with one sentence. Then come, in any order, each indented below its heading and each
optional, ``Idea:``, ``Equations:``, ``Claims:`` and ``Reference:``. A claim says what was gained, by which metric and
on what, against which baseline, at which change of accuracy, and how we know:

    - 9x fewer parameters; AlexNet, parameters; the dense net; no loss of accuracy [seen: abstract]

"seen" names where it was read; "recalled" is from memory and "derived" was computed from others.
"""

from __future__ import annotations

import inspect
import re

from joulemark.record import Record

HEADINGS = ("Idea", "Equations", "Claims", "Reference")
CLAIM = re.compile(r"(?P<text>.+?)\s*\[(?P<mark>seen|recalled|derived)(?:: (?P<where>[^\]]+))?\]")


class Claim(Record, frozen=True, kw_only=True):
    """A figure that a paper claims, under the conditions it was claimed for."""

    figure: str
    metric: str
    baseline: str
    accuracy: str
    mark: str  # "seen", "recalled" or "derived"
    where: str | None = None  # it was seen

    @property
    def verified(self) -> bool:
        """Whether somebody here read it."""
        return self.mark == "seen"


class Paper(Record, frozen=True, kw_only=True):
    """The sections of one docstring; what is not there is ``None`` or empty."""

    title: str
    idea: str | None = None
    equations: tuple[str, ...] = ()  # lines as they are written
    claims: tuple[Claim, ...] = ()
    reference: str | None = None


def read_paper(docstring: str) -> Paper:
    """Read the sections. ``ValueError`` for what stands under "Claims:" and is no claim with its conditions and mark.

    >>> read_paper('''Do less.
    ...
    ... Idea:
    ...     What is not done
    ...     costs nothing.
    ... ''').idea
    'What is not done costs nothing.'
    """
    title, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in rest.splitlines():
        if line.removesuffix(":") in HEADINGS and line.endswith(":"):
            current = found.setdefault(line.removesuffix(":"), [])
        elif line.strip() and not line.startswith(" "):
            current = None  # prose of no section
        elif current is not None and line.strip():
            current.append(line)
    sections = {name: inspect.cleandoc("\n" + "\n".join(lines)) for name, lines in found.items()}
    return Paper(
        title=" ".join(title.split()),
        idea=" ".join(sections["Idea"].split()) if "Idea" in sections else None,
        equations=tuple(sections.get("Equations", "").splitlines()),
        claims=tuple(map(read_claim, split_claims(sections.get("Claims", "")))),
        reference=" ".join(sections["Reference"].split()) if "Reference" in sections else None,
    )


def split_claims(section: str) -> list[str]:
    r"""The claims of a section, each begun by "- " and continued by indented lines. ``ValueError`` for other lines.

    >>> split_claims("- one\n  and more\n- two")
    ['one\n  and more', 'two']
    """
    found: list[str] = []
    for line in section.splitlines():
        if line.startswith("- "):
            found.append(line.removeprefix("- "))
        elif found and line.startswith("  "):
            found[-1] += f"\n{line}"
        else:
            raise ValueError(f'a line under "Claims:" begins with "- " or continues a claim, indented: not {line!r}')
    return found


def read_claim(text: str) -> Claim:
    """Read one claim. ``ValueError`` if one of its four parts, its mark or, of a seen one, the place is missing.

    >>> read_claim("2x faster; LeNet, seconds; the dense net; none [recalled]").baseline
    'the dense net'
    """
    line = " ".join(text.split())
    match = CLAIM.fullmatch(line)
    parts = match["text"].split("; ", 3) if match else []
    if match is None or len(parts) < 4 or (match["mark"] == "seen") != (match["where"] is not None):
        raise ValueError(
            "a claim is written 'figure; metric; baseline; accuracy [seen: where]' (or [recalled], [derived]), not "
            f"{line!r}"
        )
    figure, metric, baseline, accuracy = parts
    return Claim(
        figure=figure, metric=metric, baseline=baseline, accuracy=accuracy, mark=match["mark"], where=match["where"]
    )
