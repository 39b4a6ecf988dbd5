"""The widths of a table's columns, and which columns fit the screen side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

Block = list[tuple[int, int]]  # (column, its width in characters)
BETWEEN = 3  # characters from one text to the next: padding and border
ENDS = 1  # the rest of the outer borders


def blocks(
    header: Sequence[str], rows: Sequence[Sequence[str]], limit: int | None = None
) -> list[Block]:
    """The columns side by side, or below each other with the first one repeated where the screen is
    too narrow: numbers that are cut in two cannot be read.

    Args:
        header: The columns' names, which may wrap between words.
        rows: Cells; one may have several lines.
        limit: The width of the screen in characters; None for no limit.

    Returns:
        Blocks of columns, each to be printed as a table. A text wider than its column wraps.

    Example:
        >>> blocks(["task", "AUC", "log loss"], [["ctr", "0.7506", "0.2889"]])
        [[(0, 4), (1, 6), (2, 8)]]
        >>> blocks(["task", "AUC", "log loss"], [["ctr", "0.7506", "0.2889"]], 20)
        [[(0, 4), (1, 6)], [(0, 4), (2, 6)]]
    """
    texts = [max(map(_width, column)) for column in zip(*rows, strict=True)] or [0] * len(header)
    whole = [max(width, _width(name)) for width, name in zip(texts, header, strict=True)]
    if limit is None or total(whole) <= limit:
        return [list(enumerate(whole))]
    words = [max(map(cell_len, name.split()), default=0) for name in header]
    least = [max(pair) for pair in zip(texts, words, strict=True)]
    first = min(least[0], limit // 2)
    found: list[Block] = [[(0, first)]]
    for column, width in enumerate(least[1:], 1):
        width = max(1, min(width, limit - total([first, 0])))
        if len(found[-1]) > 1 and total([*(w for _, w in found[-1]), width]) > limit:
            found.append([(0, first)])
        found[-1].append((column, width))
    return found


def total(widths: Sequence[int]) -> int:
    """The width of a table whose columns have these widths."""
    return sum(widths) + BETWEEN * len(widths) + ENDS


def _width(cell: str) -> int:
    return max(map(cell_len, cell.splitlines()), default=0)
