"""The id of the impressions, and the columns of event streams that hold it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError
from funnel.init.keys import FILLED, ID_WORDS, UNIQUE, Stream, words
from funnel.init.reading.streams import ROWS_WORDS

JOINED = 0.5  # the share of events whose id occurs among the impressions, where both are whole
JOINED_SAMPLE = 0.01  # … where either is a sample
MATCHES = 20  # events that must be found among the impressions of a sample


def rows_stream(streams: list[Stream]) -> Stream:
    """The stream of impressions: by name, else the one with the most rows."""
    named = [s for s in streams if s.name in ROWS_WORDS]
    return named[0] if named else max(streams, key=lambda s: s.sample.total)


def id_candidates(rows: Stream) -> list[str]:
    """The columns that could identify a row: filled, and nearly without repetition."""
    return [
        name
        for name, p in rows.profiles.items()
        if p.type in ("text", "integer")
        and not p.is_list
        and name != rows.time
        and p.missing <= (1 - FILLED) * p.rows
        and p.unique >= UNIQUE
    ]


def find_join(rows: Stream, events: list[Stream], given: str | None) -> None:
    """Sets the id of the impressions, and the column of every event stream that holds it.

    Raises:
        FunnelError: no column identifies an impression, or a stream joins nothing.
    """
    candidates = [given] if given else id_candidates(rows)
    if given:
        rows.column(given, "--id")
    if not candidates:
        raise FunnelError(_no_id(rows, events))
    scored = {}
    for candidate in candidates:
        matches = [_best_match(rows, candidate, event) for event in events]
        joined = [share for share, _ in matches]
        same_name = sum(column == candidate for _, column in matches)
        scored[candidate] = (round(sum(joined), 2), same_name, _hint(candidate), matches)
    rows.id = max(scored, key=lambda c: scored[c][:3])
    best = scored[rows.id]
    rivals = [c for c in scored if c != rows.id and scored[c][0] >= 0.98 * best[0] > 0]
    if rivals:
        rows.notes.append(
            f"{', '.join(rivals)} could be the id as well as {rows.id}: --id takes another"
        )
    failed = []
    for event, (share, column) in zip(events, best[3], strict=True):
        if share and column is not None:
            event.id, event.joined = column, share
        else:
            failed.append(event)
    for event in failed:
        _join_via(rows, event, [e for e in events if e.id is not None and e is not event])


def _hint(name: str) -> int:
    """How much a column's name says that it identifies an impression."""
    found = set(words(name))
    return 2 * bool(found & {"impression", "imp", "request", "exposure"}) + bool(found & ID_WORDS)


def _best_match(rows: Stream, candidate: str, event: Stream) -> tuple[float, str | None]:
    """(share of the events found among the impressions, the event's column that holds the id)."""
    known = rows.ids(candidate)
    found: list[tuple[float, bool, str]] = []
    for name, profile in event.profiles.items():
        if profile.is_list or profile.type not in ("text", "integer") or name == event.time:
            continue
        if profile.missing > (1 - FILLED) * profile.rows:
            continue
        share = _share_found(rows, known, event, event.ids(name))
        found.append((share, name == candidate, name))
    best = max(found, default=(0.0, False, ""))
    return (best[0], best[2]) if best[0] > 0 else (0.0, None)


def _share_found(rows: Stream, known: pa.Array, event: Stream, ids: pa.Array) -> float:
    """The share of ids found in `known`, 0 below what would count as a join. Matches that come
    before their impression count against it, since whole numbers match by chance.
    """
    positions = pc.index_in(ids, known.drop_null() if known.null_count else known)
    matched = positions.is_valid().to_numpy(zero_copy_only=False)
    share = float(matched.mean()) if len(matched) else 0.0
    whole = rows.sample.whole and event.sample.whole
    enough = share >= JOINED if whole else (share >= JOINED_SAMPLE and matched.sum() >= MATCHES)
    if not enough:
        return 0.0
    if rows.times is not None and event.times is not None and not known.null_count:
        before = rows.times[positions.drop_null().to_numpy()]
        after = event.times[matched]
        share *= float((after >= before).mean())
    return share


def _join_via(rows: Stream, event: Stream, others: list[Stream]) -> None:
    """Sets id and via of a stream whose events name events of another stream, not impressions."""
    for other in others:
        for key in id_candidates(other):
            if key == other.id:
                continue
            share, column = _best_match(other, key, event)
            if column is not None:
                event.id, event.via, event.joined, other.key = column, other.name, share, key
                return
    raise FunnelError(_no_join(rows, event))


def _no_id(rows: Stream, events: list[Stream]) -> str:
    closest = sorted(
        (
            p
            for p in rows.profiles.values()
            if p.type in ("text", "integer") and not p.is_list and p.name != rows.time
        ),
        key=lambda p: -p.unique,
    )[:3]
    shown = ", ".join(f"{p.name} ({p.distinct:,} distinct in {p.present:,})" for p in closest)
    return (
        f"{rows.name}: no column identifies a row, and {', '.join(e.name for e in events)} need "
        f"one to join. Closest: {shown or 'none'}. Missing: a column without repetition that the "
        "events hold too; name it with --id COLUMN, or give one wide table"
    )


def _no_join(rows: Stream, event: Stream) -> str:
    guess = event.profiles.get(rows.id or "")
    looked = guess or max(
        (p for p in event.profiles.values() if not p.is_list), key=lambda p: _hint(p.name)
    )
    count = int(pc.sum(pc.is_in(event.ids(looked.name), rows.ids().drop_null())).as_py() or 0)
    return (
        f"{event.name}: no column holds ids of {rows.name} ({rows.name}.{rows.id}); in "
        f"{event.name}.{looked.name} {count:,} of {looked.present:,} values occur there. Missing: "
        "logs of the same days, or a column that names the impression; --id COLUMN names the "
        f"column of {rows.name}, and without {event.name} the other streams can be used"
    )
