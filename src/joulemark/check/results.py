"""Judges stored results again: every record by its values and seal, every link between records, every choice.

What a hash proves here. The *seal* of a record shows that its file is as it was stored. A net's file name is the hash
of its bytes, and records name nets by it: weights cannot be exchanged. The *key* of an attempt, trial or making hashes
what went in (settings, code), which a record alone does not hold, so keys are only checked as names that must agree.
None of this stops somebody who makes up a record and seals it; only running it again does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from joulemark.check.choice import hidden, miscounted, named_attempts, second_controls, study_faults, unreadable
from joulemark.check.scores import several_truths
from joulemark.check.values import faults
from joulemark.judging.repeated import unlike_its_attempt, unlike_its_making
from joulemark.machine.atomic_files import WRITING
from joulemark.record import Attempt, FreeTrial, Made, Record, Study, Trial, Truth
from joulemark.store import KINDS, Store, StoreError, folders, opened
from joulemark.task import BASELINE

ENDING = ".safetensors"


class Finding(Record, frozen=True, kw_only=True):
    """One thing that is broken, or worth knowing: the file below the results, and a sentence."""

    path: str
    problem: str


class Checked(Record, frozen=True, kw_only=True):
    """What a check found. ``notes`` break no rule: they say what could not be checked, or stands on no board."""

    results: str
    records: int
    nets: int
    broken: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def check_results(results: str | Path) -> Checked:
    """Check everything stored below ``results`` (a folder or an fsspec URL); nothing is changed.

    Raises ``ValueError`` if there are no results.
    """
    places = folders(results)
    if not places:
        raise ValueError(f"there are no results in {results}: name the folder that a run wrote with --results")
    checked = [_Folder(results, hardware_class, task).all() for hardware_class, task in places]
    return Checked(
        results=str(results),
        records=sum(len(one.records) for one in checked),
        nets=sum(one.nets for one in checked),
        broken=tuple(finding for one in checked for finding in one.broken),
        notes=tuple(finding for one in checked for finding in one.notes),
    )


@dataclass
class _Folder:
    """One task on one hardware class; records by their path below it."""

    results: str | Path
    hardware_class: str
    task: str
    records: dict[str, Any] = field(default_factory=dict)
    nets: int = 0
    broken: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def all(self) -> _Folder:
        self.store = Store(self.results, hardware_class=self.hardware_class, task=self.task)
        for record_type, kind in KINDS.items():
            self._read(record_type, kind)
        saved = self._saved_nets()
        truths = {truth.key: truth for truth in self._of(Truth).values()}
        for path, problem in (*miscounted(self.records), *several_truths(self.records)):
            self._break(path, problem)
        for path, record in self.records.items():
            self._judge(path, faults, record, truths)
            for rule in (self._misplaced, self._links):
                self._judge(path, rule, record)
        self._missing_nets(saved)
        self._studies()
        for name in self.store.names("damaged"):
            self._note(f"damaged/{name}", "could not be read by an earlier run, which set it aside")
        self._note_unused()
        return self

    def _break(self, path: str, problem: str) -> None:
        self.broken.append(Finding(path=f"{self.hardware_class}/{self.task}/{path}", problem=problem))

    def _judge(self, path: str, rule: Callable[..., Iterable[str]], *given: Any) -> None:
        """Break what a rule finds; where the rule itself fails that is found too, and all else is judged still."""
        try:
            for problem in rule(*given):
                self._break(path, problem)
        except (ValueError, ArithmeticError) as error:
            self._break(path, f"cannot be judged: {error}")

    def _note(self, path: str, problem: str) -> None:
        self.notes.append(Finding(path=f"{self.hardware_class}/{self.task}/{path}".rstrip("/"), problem=problem))

    def _of(self, record_type: type[Record]) -> dict[str, Any]:
        return {path: record for path, record in self.records.items() if isinstance(record, record_type)}

    def _read(self, record_type: type[Record], kind: str) -> None:
        for name in self.store.names(kind):
            path = f"{kind}/{name}"
            try:
                data = self.store.read(path)
                if name.startswith(WRITING) or data is None:
                    continue  # still being written, or a folder
                found = opened(data, record_type, name)
            except (ValueError, StoreError) as error:
                self._break(path, str(error))
                continue
            self.records[path] = found.record
            if not found.sealed:
                self._break(path, "is unsealed: made before records had seals, or edited; nothing shows which")

    def _saved_nets(self) -> set[str]:
        """Names of the nets whose bytes hash to their name."""
        whole = set()
        for name in self.store.names("nets"):
            try:
                data = self.store.read(f"nets/{name}") if name.endswith(ENDING) else None
            except StoreError as error:
                self._break(f"nets/{name}", str(error))
                continue
            if data is None:
                continue
            self.nets += 1
            found = hashlib.sha256(data).hexdigest()[:16]
            if found == name.removesuffix(ENDING):
                whole.add(found)
            else:
                self._break(f"nets/{name}", f"its bytes hash to {found}: another net, or a damaged one")
        return whole

    def _missing_nets(self, saved: set[str]) -> None:
        named = {record.net for record in self.records.values() if getattr(record, "net", None)}
        missing = len(named - saved)
        if missing:
            what = "net is" if missing == 1 else "nets are"
            self._note("nets", f"{missing} of {len(named)} {what} not here: what they score cannot be run again")

    def _misplaced(self, record: Any) -> Iterator[str]:
        """A record that says another machine or task than its folder."""
        if isinstance(record, Study):
            return
        if f"{record.task}-{record.task_key[:8]}" != self.task:
            yield f"is of task {record.task} with key {record.task_key}, in the folder of {self.task}"
        stated = {getattr(record, "hardware_class", self.hardware_class)}
        # A net may be made elsewhere: a published baseline keeps the machine that trained it.
        if isinstance(record, Attempt | Trial | FreeTrial):
            stated.add(record.provenance.machine.hardware_class)
        for other in sorted(stated - {self.hardware_class}):
            yield f"was made on {other}, in the folder of {self.hardware_class}"

    def _links(self, record: Any) -> Iterator[str]:
        """What a record says of another one that is stored."""
        if isinstance(record, Attempt):
            path = f"made/{record.made}.json"
            if path in self.records:
                names = unlike_its_making(record, self.records[path])
                yield from (f"{name} differs from its making, {path}" for name in names)
            else:
                yield f"its making, {path}, is not there or cannot be read"
        elif isinstance(record, Trial):
            path = f"attempts/{record.attempt}.json"
            if path in self.records:
                yield from unlike_its_attempt(record, self.records[path])
            else:
                yield f"its attempt, {path}, is not there or cannot be read"
        elif isinstance(record, Made) and record.start is not None:
            starts = {
                one.net for one in self._of(Made).values() if (one.technique, one.seed) == (BASELINE, record.seed)
            }
            if starts and record.start not in starts:
                yield f"starts from net {record.start}, which is no baseline of seed {record.seed} here"

    def _studies(self) -> None:
        """What was tried against what the studies of this folder name of it."""
        judged = any(isinstance(record, Attempt | Trial | FreeTrial) for record in self.records.values())
        if judged and not self.store.names("studies"):
            self._break("studies", "there is no study: nothing says which records belong together; run the suite again")
        for path, study in self._of(Study).items():
            self._judge(path, study_faults, study, self.records)
            for technique in study.attempts:
                if unreadable(study, technique, self.records):
                    self._note(path, f"the choice of {technique} could not be made again: an attempt is missing")
        for rule in (hidden, second_controls):
            for path, problem in rule(self.records):
                self._break(path, problem)

    def _note_unused(self) -> None:
        """Records that no study names are drawn nowhere; they are left from other settings."""
        used = set()
        for study in self._of(Study).values():
            used |= {f"attempts/{key}.json" for key in named_attempts(study)} | {
                f"trials/{key}.json" for key in study.trials
            }
            used |= {f"free/{key}.json" for key in study.free}
        unused = [
            path for path in self.records if path.startswith(("attempts/", "trials/", "free/")) and path not in used
        ]
        if unused:
            self._note("", f"{len(unused)} records stand in no study, so on no board")


def as_lines(checked: Checked) -> list[str]:
    """What was found, as lines for a person: broken things by file, then notes, then the count."""
    lines = []
    for findings, mark in ((checked.broken, "BROKEN"), (checked.notes, "note")):
        for path in dict.fromkeys(finding.path for finding in findings):
            lines.append(f"{mark}  {path}")
            lines += [f"        {finding.problem}" for finding in findings if finding.path == path]
    files = len({finding.path for finding in checked.broken})
    found = (
        f"{len(checked.broken)} broken in {files} {'file' if files == 1 else 'files'}" if files else "nothing broken"
    )
    lines.append(f"{checked.records} records and {checked.nets} nets in {checked.results}: {found}.")
    return lines


def as_json(checked: Checked) -> dict[str, Any]:
    """The same for a script."""
    return {**msgspec.to_builtins(checked), "clean": not checked.broken}
