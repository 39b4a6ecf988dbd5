"""Events that name another event instead of an impression (a conversion, its click): which one led
to them, and so to which impression.

The event of the stream that another goes `via` is called a touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import hashing
from pipeline.config import PreprocessConfig
from pipeline.labeling.join import flat, group, place
from pipeline.rows import encode

Batch = tuple[str, bytes]  # stream, Arrow IPC bytes
KEYED = "keyed"


def touches_of(events: pa.Table) -> pa.Table:
    """The events of a stream that others go via, by their key: id (the key), hash (its
    fingerprint), time, impression.
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
    events: pa.Table, touches: pa.Table, touch: Literal["first", "last"], lookback: int
) -> pa.Table:
    """The events with the impression of their touch as `id`, its fingerprint as `hash`, and
    `touched`, the touch's time.

    Of the touches with the event's key, the first or the last one that is at or before the event
    and not more than `lookback` µs before it. Where there is none, the last one before that, else
    the first one afterwards: the event then counts as late or before. Where no touch has the key,
    id and touched are null and the event counts as an orphan.
    """
    keys, key_hashes = (
        pa.chunked_array([*events[c].chunks, *touches[c].chunks], events[c].type)
        for c in ("id", "hash")
    )
    order, new = group(key_hashes.to_numpy(), flat(keys))
    codes = np.empty(len(order), np.int64)
    codes[order] = np.cumsum(new)
    own, theirs = codes[: len(events)], codes[len(events) :]
    targets = hashing.fingerprint64(flat(touches["impression"]))
    order = np.lexsort((targets, touches["time"].to_numpy(), theirs))
    times = touches["time"].to_numpy()[order]
    chosen = _choose(theirs[order], times, own, events["time"].to_numpy(), touch, lookback)
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
    at: np.ndarray,
    touch: Literal["first", "last"],
    lookback: int,
) -> np.ndarray:
    """The touch of each of [m] events among [n] touches sorted by (key, time), −1 where none has
    its key.
    """
    start, end = (np.searchsorted(keys, of_keys, side) for side in ("left", "right"))
    latest = place(keys, times, of_keys, at, "right") - 1
    chosen = np.where(latest < start, start, latest)
    if touch == "first":
        earliest = place(keys, times, of_keys, at - lookback, "left")
        chosen = np.where(earliest <= latest, earliest, chosen)
    return np.where(start < end, chosen, -1)


class Attribute(beam.PTransform):
    """(partition, (stream, batch)) → the same, with events that go via another stream moved to the
    partitions of their impressions.

    They and copies of the touches meet in as many partitions, cut by a hash of the key.
    """

    def __init__(self, config: PreprocessConfig, partitions: int) -> None:
        super().__init__()
        self.config, self.partitions = config, partitions

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
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
        return (routed["direct"], attributed) | "Together" >> beam.Flatten()


class Route(beam.DoFn):
    """Events that go via another stream, and copies of their touches, aside; everything else on its
    way.
    """

    def __init__(self, config: PreprocessConfig, partitions: int) -> None:
        self.vias, self.partitions = config.vias, partitions

    def process(self, element: tuple[int, Batch]) -> Iterator:
        if element[1] is None:  # a partition is visited
            yield element
            return
        stream, data = element[1]
        if stream in self.vias:  # its id is the key, which it was cut by
            yield beam.pvalue.TaggedOutput(KEYED, element)
            return
        yield element
        if stream in self.vias.values():
            for number, touches in encode.cut(touches_of(encode.from_ipc(data)), self.partitions):
                yield beam.pvalue.TaggedOutput(KEYED, (number, (stream, encode.to_ipc(touches))))


def attribute_partition(
    config: PreprocessConfig, partitions: int, batches: Iterable[Batch]
) -> Iterator[tuple[int, Batch]]:
    """The events of one partition by key, attributed and cut into the partitions of their
    impressions.
    """
    tables: dict[str, list[pa.Table]] = {}
    for stream, data in batches:
        tables.setdefault(stream, []).append(encode.from_ipc(data))
    for stream, via in config.vias.items():
        if stream in tables:
            touches = tables.get(via) or [touches_of(encode.no_rows(config, via))]
            events, lookback = pa.concat_tables(tables[stream]), config.lookback(stream)
            attributed = attribute(
                events, pa.concat_tables(touches), config.logs[stream].touch, lookback
            )
            for number, rows in encode.cut(attributed, partitions):
                yield number, (stream, encode.to_ipc(rows))
