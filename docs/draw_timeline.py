"""Draws docs/timeline.svg: four impressions, their windows, and what becomes of each event. `python
docs/draw_timeline.py` writes it.

tests/test_docs_labels.py computes the same labels and dispositions from these rows, so the picture
cannot differ from the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLICK, CONVERT = 30, 60  # the windows, in minutes
LOGS_END = 118


@dataclass(frozen=True)
class Shown:
    """An impression at a minute; its events as (minute, what becomes of them); its labels."""

    title: str
    time: int
    clicks: list[tuple[int, str]]
    conversions: list[tuple[int, str]]
    click: int
    convert: int


ROWS = [
    Shown(
        "clicked twice, bought",
        12,
        [(6, "too_early"), (20, "matched"), (37, "duplicate"), (52, "late")],
        [(15, "too_early"), (46, "matched"), (66, "duplicate"), (92, "late")],
        1,
        1,
    ),
    Shown("bought without a click", 12, [], [(40, "without_parent")], 0, 0),
    Shown("clicked shortly before the end", 70, [(84, "matched")], [], 1, -1),
    Shown("shown shortly before the end", 100, [], [], -1, -1),
]
INK, FAINT, RULE = "#1f2933", "#6b7785", "#c4ccd4"
STREAMS = {"click": ("#d8e8f7", "#2f6fab"), "convert": ("#fbe6cb", "#b06f14")}  # window, event
LEFT, SCALE, TOP, LANE, PANEL = (
    130,
    4.8,
    64,
    50,
    136,
)  # px: where minute 0 is, a minute, the first panel, a lane, a panel
WIDTH, HEIGHT = 960, TOP + PANEL * len(ROWS) + 28


def x(minute: float) -> float:
    return LEFT + SCALE * minute


def text(
    at: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    color: str = INK,
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    position = f'x="{at:.0f}" y="{y:.0f}"'
    style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {position} {style}>{words}</text>"


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    color: str,
    *,
    width: float = 1,
    dashes: str = "none",
) -> str:
    ends = f'x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width}" stroke-dasharray="{dashes}"/>'


def window(y: float, start: int, minutes: int, label: str) -> list[str]:
    """A window as a bar, dashed beyond the end of the logs."""
    fill, edge = STREAMS[label]
    beyond = start + minutes - LOGS_END
    bars = [_bar(y, start, minutes, f'rx="3" fill="{fill}"')]
    if beyond > 0:
        style = f'fill="#ffffff" stroke="{edge}" stroke-dasharray="3 3"'
        bars.append(_bar(y, LOGS_END, beyond, style))
    return bars


def _bar(y: float, start: int, minutes: int, style: str) -> str:
    width = f'width="{SCALE * minutes:.0f}" height="26"'
    return f'<rect x="{x(start):.0f}" y="{y - 13:.0f}" {width} {style}/>'


def event(y: float, minute: int, kind: str, label: str) -> list[str]:
    """An event that counts is a full dot, a repeated one hollow; any other a cross."""
    color, at = STREAMS[label][1], x(minute)
    if kind in ("matched", "duplicate"):
        fill = color if kind == "matched" else "#ffffff"
        style = f'fill="{fill}" stroke="{color}" stroke-width="2"'
        symbol = f'<circle cx="{at:.0f}" cy="{y}" r="5.5" {style}/>'
    else:
        style = f'stroke="{FAINT}" stroke-width="2.2" fill="none"'
        symbol = f'<path d="M{at - 5:.0f} {y - 5} l10 10 m0 -10 l-10 10" {style}/>'
    return [
        symbol,
        text(at, y + 27, kind, size=11, color=INK if kind == "matched" else FAINT, anchor="middle"),
    ]


def panel(row: Shown, top: float) -> list[str]:
    """One impression: a lane of clicks and one of conversions, each with its window."""
    clicks, conversions = top + 48, top + 48 + LANE
    first = next((minute for minute, kind in row.clicks if kind == "matched"), None)
    parts = [
        line(24, top, WIDTH - 24, top, RULE),
        text(24, top + 22, row.title, size=13, weight="600"),
    ]
    parts += [
        text(x(0) - 12, y + 4, name, color=FAINT, anchor="end")
        for y, name in ((clicks, "clicks"), (conversions, "conversions"))
    ]
    parts += [line(x(0), y, x(LOGS_END), y, RULE) for y in (clicks, conversions)]
    parts += window(clicks, row.time, CLICK, "click")
    if first is not None:
        parts += window(conversions, first, CONVERT, "convert")
        parts.append(
            line(
                x(first),
                clicks + 31,
                x(first),
                conversions - 13,
                STREAMS["convert"][1],
                dashes="2 2",
            )
        )
    parts.append(line(x(row.time), clicks - 19, x(row.time), clicks + 13, INK, width=2.5))
    for y, events, label in (
        (clicks, row.clicks, "click"),
        (conversions, row.conversions, "convert"),
    ):
        parts += [part for minute, kind in events for part in event(y, minute, kind, label)]
        value = row.click if label == "click" else row.convert
        shown, color = (f"{label} = {value}", INK) if value >= 0 else (f"{label} = −1", FAINT)
        parts.append(
            text(WIDTH - 24, y + 5, shown, size=14, color=color, anchor="end", weight="600")
        )
    return parts


def draw() -> str:
    """The picture as SVG."""
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    parts.append(
        text(24, 26, "click = { event = clicks, within = 30m }", size=13, color=STREAMS["click"][1])
    )
    parts.append(
        text(
            24,
            46,
            "convert = { event = conversions, within = 60m, after = click }",
            size=13,
            color=STREAMS["convert"][1],
        )
    )
    for number, row in enumerate(ROWS):
        parts += panel(row, TOP + PANEL * number)
    bottom = TOP + PANEL * len(ROWS)
    parts += [
        line(x(LOGS_END), 40, x(LOGS_END), bottom, "#b3261e", width=1.5),
        line(24, bottom, WIDTH - 24, bottom, RULE),
    ]
    parts.append(text(x(LOGS_END), 32, "the logs end", color="#b3261e", anchor="middle"))
    notes = (
        "thick bar: shown · color: open window · full dot: counts · hollow: repeated · "
        "cross: does not count · −1: unknown"
    )
    parts.append(text(24, bottom + 19, notes, color=FAINT))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">'
    return "\n".join([head, *parts, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_name("timeline.svg").write_text(draw())
