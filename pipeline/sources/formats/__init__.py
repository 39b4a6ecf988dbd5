"""Log formats: an open file in, blocks of `ParsedRows` out.

To add a format, write a subclass of `base.LogFile` in a module of its own and add a line to
`FORMATS`. Formats never import `rows` or what comes after it.
"""

from __future__ import annotations

from pipeline.sources.formats.aliccp import AliccpFile
from pipeline.sources.formats.base import LogFile
from pipeline.sources.formats.csv import CsvFile
from pipeline.sources.formats.jsonl import JsonlFile
from pipeline.sources.formats.parquet import ParquetFile

FORMATS: dict[str, type[LogFile]] = {
    "parquet": ParquetFile,
    "csv": CsvFile,
    "jsonl": JsonlFile,
    "aliccp": AliccpFile,
}
