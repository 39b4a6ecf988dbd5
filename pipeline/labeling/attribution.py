"""Attribution of events that name another event instead of an impression, as a conversion names its
click.

A touch is an event of the stream that another stream goes `via`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection

from features import hashing
from pipeline.arrow import flat
from pipeline.config import PreprocessConfig
from pipeline.labeling.join import group, searchsorted_pairs
from pipeline.shuffle import cut, from_ipc, to_ipc

Batch = tuple[str, bytes]  # stream, Arrow IPC bytes
KEYED = "keyed"
TOUCHES = {
    "id": pa.string(),
    "hash": pa.uint64(),
    "time": pa.int64(),
    "impression": pa.string(),
}


def touches_of(events: pa.Table) -> pa.Table:
    """The events with a key, of a stream that others go via: id (the key), hash (its fingerprint),
    time, impression.
    """
    events = events.filter(pc.fill_null(pc.not_equal(events["key"], ""), False))
    key = flat(events["key"])
    return pa.table(
        {
            "id": key,
            "hash": hashing.fingerprint64(key),
            "time": events["time"],
            "impression": events["id"],
        }
    )


def attribute(
    events: pa.Table,
    touches: pa.Table,
    touch: Literal["first", "last"],
    lookback: int,
    slack: int = 0,
) -> pa.Table:
    """Replaces the events' keys by impressions.

    The touch of an event is the first or the last one with its key that is at most `slack` µs after
    the event and at most `lookback` µs before it. Where there is none, it is the last one before
    that, else the first one afterwards; the event then counts as late or too early.

    Args:
        events: events whose id is the key of a touch.
        touches: touches, as `touches_of` gives them.
        touch: which of several touches led to the event.
        lookback, slack: in µs.

    Returns:
        The events with the impression of their touch as `id`, its fingerprint as `hash`, and the
        time of the touch as `touched`. Where no touch has the key, id and touched are null and the
        event counts as an orphan.
    """
    keys, key_hashes = (
        pa.chunked_array([*events[c].chunks, *touches[c].chunks], events[c].type)
        for c in ("id", "hash")
    )
    order, first = group(key_hashes.to_numpy(), flat(keys))
    codes = np.empty(len(order), np.int64)
    codes[order] = np.cumsum(first)
    own, theirs = codes[: len(events)], codes[len(events) :]
    targets = hashing.fingerprint64(flat(touches["impression"]))
    order = np.lexsort((targets, touches["time"].to_numpy(), theirs))
    times = touches["time"].to_numpy()[order]
    at = events["time"].to_numpy()
    earliest = at - lookback if touch == "first" else None
    chosen = _choose(theirs[order], times, own, at + slack, earliest)
    none = chosen < 0
    rows = pa.array(
        np.where(none, 0, order[chosen]) if len(order) else np.zeros(len(none), np.int64), mask=none
    )
    columns = {
        "id": flat(touches["impression"]).take(rows),
        "hash": pc.fill_null(pa.array(targets).take(rows), events["hash"]),
        "touched": flat(touches["time"]).take(rows),
    }
    for name, column in columns.items():
        at = events.schema.get_field_index(name)
        events = (
            events.set_column(at, name, column) if at >= 0 else events.append_column(name, column)
        )
    return events


def _choose(
    keys: np.ndarray,
    times: np.ndarray,
    of_keys: np.ndarray,
    until: np.ndarray,
    since: np.ndarray | None,
) -> np.ndarray:
    """[m] rows of the events' touches among [n] touches sorted by (key, time): the last ones at or
    before `until`, or the first ones of those that are not before `since`; −1 where none has the
    key.
    """
    start, end = (np.searchsorted(keys, of_keys, side) for side in ("left", "right"))
    latest = searchsorted_pairs(keys, times, of_keys, until, "right") - 1
    chosen = np.where(latest < start, start, latest)
    if since is not None:
        earliest = searchsorted_pairs(keys, times, of_keys, since, "left")
        chosen = np.where(earliest <= latest, earliest, chosen)
    return np.where(start < end, chosen, -1)


class Attribute(beam.PTransform[Any, Any]):
    """(partition, (stream, batch)) → the same, with events that go via another stream moved to the
    partitions of their impressions.

    These events meet copies of the touches in partitions by a hash of the key.
    """

    def __init__(self, config: PreprocessConfig, partitions: int) -> None:
        super().__init__()
        self.config, self.partitions = config, partitions

    def expand(self, batches: PCollection[Any]) -> PCollection[Any]:
        config, partitions = self.config, self.partitions
        if not config.vias:
            return batches
        routed = batches | "Route" >> beam.ParDo(Route(config, partitions)).with_outputs(
            KEYED, main="direct"
        )
        attributed = (
            routed[KEYED]
            | "By key" >> beam.GroupByKey()
            | "Lead to impressions"
            >> beam.FlatMapTuple(lambda _, found: attribute_partition(config, partitions, found))
        )
        together: PCollection[Any] = (routed["direct"], attributed) | "Together" >> beam.Flatten()
        return together


class Route(beam.DoFn):
    """Tags events that go via another stream, and copies of their touches, as KEYED; passes
    everything else on.
    """

    def __init__(self, config: PreprocessConfig, partitions: int) -> None:
        self.vias, self.partitions = config.vias, partitions

    def process(self, element: tuple[int, Batch]) -> Iterator[Any]:
        if element[1] is None:  # written for a partition that may get no row
            yield element
            return
        stream, data = element[1]
        if stream in self.vias:  # its id is the key, by which it was cut
            yield beam.pvalue.TaggedOutput(KEYED, element)
            return
        yield element
        if stream in self.vias.values():
            for number, touches in cut(touches_of(from_ipc(data)), self.partitions):
                yield beam.pvalue.TaggedOutput(KEYED, (number, (stream, to_ipc(touches))))


def attribute_partition(
    config: PreprocessConfig, partitions: int, batches: Iterable[Batch]
) -> Iterator[tuple[int, Batch]]:
    """Attributes the events of one partition by key, and yields them by the partitions of their
    impressions.
    """
    tables: dict[str, list[pa.Table]] = {}
    for stream, data in batches:
        tables.setdefault(stream, []).append(from_ipc(data))
    for stream, via in config.vias.items():
        if stream in tables:
            touches = tables.get(via) or [pa.schema(TOUCHES).empty_table()]
            attributed = attribute(
                pa.concat_tables(tables[stream]),
                pa.concat_tables(touches),
                config.logs[stream].touch,
                config.lookback(stream),
                config.slack(stream),
            )
            for number, rows in cut(attributed, partitions):
                yield number, (stream, to_ipc(rows))
