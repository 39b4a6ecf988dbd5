"""Columns of the rows → the lines of [features], and notes on columns that are left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from features.checks import RESERVED
from features.declarations import input_name
from funnel.init.crosses import propose_crosses
from funnel.init.keys import Stream
from funnel.init.kinds import Proposal, propose, time_part
from funnel.init.labels import Label
from funnel.init.leaks import find_leak, folds
from funnel.init.toml import Line, key


@dataclass
class Features:
    """Proposed features, and the columns left out with the reason."""

    lines: list[Line] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        if not self.left_out:
            return []
        width = min(max(len(key(name)) for name in self.left_out), 28)
        listed = [f"  {key(name).ljust(width)}  {why}" for name, why in self.left_out.items()]
        return ["Left out:", *listed]


def propose_features(rows: Stream, labels: list[Label], dropped: list[str]) -> Features:
    """A feature for each column of the rows that may be one.

    Args:
        rows: the stream whose columns become features.
        labels: whose columns are left out, and which no feature may give away.
        dropped: columns that the user leaves out.
    """
    found = Features(left_out=dict(rows.sample.unusable))
    taken = {*RESERVED, *(label.name for label in labels)}
    inputs: dict[str, str] = {}
    reserved = {rows.id, *(column for label in labels for column in label.columns)}
    fold = folds(rows.sample.rows)
    known = {label.name: label.values for label in labels if not label.is_number}
    for name, profile in rows.profiles.items():
        if name in reserved:
            continue
        if name in dropped:
            found.left_out[name] = "left out by --drop"
            continue
        if name == rows.time:
            proposal = time_part(profile, known)
        else:
            leak = find_leak(profile, labels, fold)
            if leak and leak.certain:
                found.left_out[name] = leak.why
                continue
            proposal = propose(profile, known, fold)
            if leak and proposal.declaration:
                found.suspects[name] = leak.why
                proposal = Proposal(name, proposal.declaration, f"{proposal.why}; {leak.why}")
        other = inputs.setdefault(input_name(name), name)
        if proposal.declaration is not None and other != name:
            found.left_out[name] = f"a request could not tell it from {other}: rename one"
        elif proposal.declaration is None:
            found.left_out[name] = proposal.why
        else:
            found.lines.append(_line(proposal.column, proposal.declaration, proposal.why, taken))
    few = {
        line.key: rows.profiles[line.value.get("column", line.key)]
        for line in found.lines
        if "min_count" in line.value and "max_length" not in line.value
    }
    found.lines += [line for line in propose_crosses(few, labels) if line.key not in taken]
    return found


def _line(column: str, declared: dict[str, Any], why: str, taken: set[str]) -> Line:
    """A feature under a name that no other has."""
    name = input_name(column)
    if declared["kind"] == "time":
        name = f"{name}_{declared['part']}"
    while name in taken:
        name = f"{name}_feature"
    taken.add(name)
    if name != column:
        kind = declared.pop("kind")
        declared = {"kind": kind, "column": column, **declared}
    return Line(name, declared, why)
