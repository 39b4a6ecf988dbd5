"""Draws docs/architectures/<name>.svg, one for each sharing and funnel. `python
docs/draw_architectures.py` writes them.

A drawing is rows of boxes from the input up, and arrows between them, for two tasks, ctr and cvr.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INK, FAINT = "#1f2933", "#8a96a3"
# by who owns a box: everyone, one of the tasks, nobody (input), or a choice between boxes (gate)
FILLS = {
    "input": ("#eceff2", "#8a96a3"),
    "shared": ("#d8e8f7", "#2f6fab"),
    "ctr": ("#fbe6cb", "#b06f14"),
    "cvr": ("#dcefdc", "#3b7d3e"),
    "gate": ("#ffffff", "#6b4fa0"),
    "loss": ("#ffffff", "#b3261e"),
}
WIDTH, ROW, HEIGHT_OF_BOX, MARGIN = 620, 62, 30, 24


@dataclass(frozen=True)
class Drawing:
    """`rows` from the bottom up, of boxes "id kind label" or "." for an empty place; `arrows`
    "from>to", dashed "from~>to" for a weight.
    """

    rows: list[list[str]]
    arrows: str


SHARED_X = ["x input x"]
TOWERS = ["ctr ctr h_ctr", "cvr cvr h_cvr"]

SHARINGS = {
    "single_task": Drawing(
        [["xa ctr x_ctr", "xb cvr x_cvr"], ["fa ctr f_ctr", "fb cvr f_cvr"], TOWERS],
        "xa>fa xb>fb fa>ctr fb>cvr",
    ),
    "shared_bottom": Drawing([SHARED_X, ["f shared f"], TOWERS], "x>f f>ctr f>cvr"),
    "asymmetric": Drawing(
        [SHARED_X, ["fa ctr f_ctr", "fb cvr f_cvr"], TOWERS], "x>fa x>fb fa>ctr fb>cvr fa>cvr"
    ),
    "customized": Drawing(
        [SHARED_X, ["fa ctr f_ctr", "fs shared f_shared", "fb cvr f_cvr"], TOWERS],
        "x>fa x>fs x>fb fa>ctr fs>ctr fs>cvr fb>cvr",
    ),
    "moe": Drawing(
        [
            SHARED_X,
            ["f1 shared f₁", "f2 shared f₂", "f3 shared f₃", "g gate g"],
            ["s shared Σ_gᵢfᵢ"],
            TOWERS,
        ],
        "x>f1 x>f2 x>f3 x>g f1>s f2>s f3>s g~>s s>ctr s>cvr",
    ),
    "mmoe": Drawing(
        [
            SHARED_X,
            ["ga gate g_ctr", "f1 shared f₁", "f2 shared f₂", "f3 shared f₃", "gb gate g_cvr"],
            TOWERS,
        ],
        "x>ga x>f1 x>f2 x>f3 x>gb f1>ctr f2>ctr f3>ctr f1>cvr f2>cvr f3>cvr ga~>ctr gb~>cvr",
    ),
    "ml_mmoe": Drawing(
        [
            ["x1 input x", "x2 input x", "x3 input x"],
            [".", "f1 shared f₁¹", "f2 shared f₂¹", "."],
            [".", "m1 gate g^{1,1}", "m2 gate g^{1,2}", "."],
            [".", "e1 shared f₁²", "e2 shared f₂²", "."],
            [".", "ga gate g^{2,ctr}", "gb gate g^{2,cvr}", "."],
            TOWERS,
        ],
        "x2>f1 x2>f2 x1~>m1 x3~>m2 f1>m1 f2>m1 f1>m2 f2>m2 m1>e1 m2>e2 e1>ga e2>ga e1>gb e2>gb "
        "x1~>ga x3~>gb ga>ctr gb>cvr",
    ),
    "cgc": Drawing(
        [
            SHARED_X,
            [
                "ga gate g_ctr",
                "ea ctr f_ctr",
                "es shared f_shared",
                "eb cvr f_cvr",
                "gb gate g_cvr",
            ],
            TOWERS,
        ],
        "x>ga x>ea x>es x>eb x>gb ea>ctr es>ctr es>cvr eb>cvr ga~>ctr gb~>cvr",
    ),
    "ple": Drawing(
        [
            SHARED_X,
            [
                "ga gate g_ctr",
                "ea ctr f_ctr",
                "es shared f_shared",
                "gs gate g_shared",
                "eb cvr f_cvr",
                "gb gate g_cvr",
            ],
            ["ma ctr Σ", "ms shared Σ", "mb cvr Σ"],
            [
                "ha gate g_ctr",
                "da ctr f_ctr",
                "ds shared f_shared",
                "db cvr f_cvr",
                "hb gate g_cvr",
            ],
            TOWERS,
        ],
        "x>ga x>ea x>es x>gs x>eb x>gb ea>ma es>ma ga~>ma ea>ms es>ms eb>ms gs~>ms es>mb eb>mb "
        "gb~>mb ma>ha ma>da ms>ds mb>db mb>hb da>ctr ds>ctr ha~>ctr ds>cvr db>cvr hb~>cvr",
    ),
    "cross_stitch": Drawing(
        [
            SHARED_X,
            ["a1 ctr layer_1", "b1 cvr layer_1"],
            ["s1 shared α_2×2"],
            ["a2 ctr layer_2", "b2 cvr layer_2"],
            ["s2 shared α_2×2"],
            TOWERS,
        ],
        "x>a1 x>b1 a1>s1 b1>s1 s1>a2 s1>b2 a2>s2 b2>s2 s2>ctr s2>cvr",
    ),
    "sluice": Drawing(
        [
            SHARED_X,
            ["a1 ctr layer_1:_G₁|G₂", "b1 cvr layer_1:_G₁|G₂"],
            ["s1 shared α_4×4"],
            ["a2 ctr layer_2:_G₁|G₂", "b2 cvr layer_2:_G₁|G₂"],
            ["s2 shared α_4×4"],
            ["ba gate β_ctr", "bb gate β_cvr"],
            TOWERS,
        ],
        "x>a1 x>b1 a1>s1 b1>s1 s1>a2 s1>b2 a2>s2 b2>s2 s2>ba s2>bb s1>ba s1>bb ba>ctr bb>cvr",
    ),
    "mose": Drawing(
        [
            ["xa input x", "s input e₁_…_e_T", "xb input x"],
            [".", "f shared LSTM", "."],
            ["ga gate g_ctr", "l1 shared LSTM₁", "l2 shared LSTM₂", "gb gate g_cvr"],
            [".", "ta ctr LSTM_ctr", "tb cvr LSTM_cvr", "."],
            ["ctr ctr [h_ctr,_x]", "cvr cvr [h_cvr,_x]"],
        ],
        "s>f f>l1 f>l2 xa>ga xb>gb l1>ta l2>ta l1>tb l2>tb ga~>ta gb~>tb ta>ctr tb>cvr xa>ctr "
        "xb>cvr",
    ),
}
P = {"pa": "pa ctr p_ctr", "pb": "pb cvr p_cvr"}
HEADS = ["ha ctr tower_ctr", "hb cvr tower_cvr"]

FUNNELS = {
    "independent": Drawing(
        [HEADS, [P["pa"], P["pb"]], ["la loss click,_all_rows", "lb loss convert,_clicked_rows"]],
        "ha>pa hb>pb pa>la pb>lb",
    ),
    "esmm": Drawing(
        [
            HEADS,
            [P["pa"], P["pb"]],
            ["pj shared p_ctcvr_=_p_ctr·p_cvr"],
            ["la loss click,_all_rows", "lb loss click∧convert,_all_rows"],
        ],
        "ha>pa hb>pb pa>pj pb>pj pa>la pj>lb",
    ),
    "esm2": Drawing(
        [
            [
                "h1 ctr y₁_click",
                "h2 shared y₂_action",
                "h3 cvr y₃_buy|action",
                "h4 cvr y₄_buy|other",
            ],
            ["pc ctr p_ctr_=_y₁", "pa shared p_ctavr_=_y₁y₂", "pv cvr p_cvr_=_y₂y₃_+_(1−y₂)y₄"],
            ["lc loss click", "la loss click∧action", "pj cvr p_ctcvr_=_y₁·p_cvr"],
            [".", ".", "lj loss click∧buy"],
        ],
        "h1>pc h1>pa h2>pa h2>pv h3>pv h4>pv pc>lc pa>la pc>pj pv>pj pj>lj",
    ),
    "dbmtl": Drawing(
        [
            HEADS,
            ["ra ctr relation_ctr", "rb cvr relation_cvr"],
            [P["pa"], P["pb"]],
            ["pj shared p_ctcvr"],
        ],
        "ha>ra hb>rb ra>rb ra>pa rb>pb pa>pj pb>pj",
    ),
    "aitm": Drawing(
        [
            HEADS,
            ["za ctr z_ctr", "t shared transfer", "zb cvr z_cvr_=_attention"],
            ["pa ctr p_ctr", "pj cvr p_ctcvr"],
            ["la loss click", "c loss max(0,_p_ctcvr_−_p_ctr)", "lb loss click∧convert"],
        ],
        "ha>za za>t t>zb hb>zb za>pa zb>pj pa>la pj>lb pa>c pj>c",
    ),
    "escm2": Drawing(
        [
            ["ha ctr tower_ctr", "hb cvr tower_cvr", ".", "hi shared imputation"],
            [P["pa"], P["pb"], ".", "pi shared δ̂"],
            [".", "pj shared p_ctcvr", "w gate 1_/_p_ctr", "."],
            ["la loss click", "lj loss click∧convert", "lb loss IPW_or_DR", "."],
        ],
        "ha>pa hb>pb hi>pi pa>pj pb>pj pa~>w pa>la pj>lj pb>lb w~>lb pi>lb",
    ),
}


@dataclass(frozen=True)
class Box:
    """A box's center and half of its width, in pixels."""

    x: float
    y: float
    half: float
    kind: str
    label: str


def place(drawing: Drawing) -> dict[str, Box]:
    """Rows from the bottom up, the boxes of each evenly across the width."""
    boxes = {}
    for number, row in enumerate(drawing.rows):
        y = MARGIN + HEIGHT_OF_BOX / 2 + ROW * (len(drawing.rows) - 1 - number)
        for at, spec in enumerate(row):
            if spec == ".":
                continue
            name, kind, label = spec.split(" ")
            label = label.replace("_", " ")
            boxes[name] = Box(
                WIDTH * (at + 0.5) / len(row), y, max(26, 3.9 * len(label) + 9), kind, label
            )
    return boxes


def arrow(start: Box, end: Box, *, dashed: bool) -> str:
    if start.y == end.y:
        side = 1 if end.x > start.x else -1
        x1, y1, x2, y2 = start.x + side * start.half, start.y, end.x - side * (end.half + 4), end.y
    else:
        x1, y1, x2, y2 = start.x, start.y - HEIGHT_OF_BOX / 2, end.x, end.y + HEIGHT_OF_BOX / 2 + 4
    stroke = FILLS[start.kind][1]
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    ends = f'x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"'
    return f'<line {ends} stroke="{stroke}" stroke-width="1.4"{dashes} marker-end="url(#tip)"/>'


def box(at: Box) -> list[str]:
    fill, edge = FILLS[at.kind]
    radius = HEIGHT_OF_BOX / 2 if at.kind == "gate" else 4
    place = (
        f'x="{at.x - at.half:.0f}" y="{at.y - HEIGHT_OF_BOX / 2:.0f}" width="{2 * at.half:.0f}" '
        f'height="{HEIGHT_OF_BOX}" rx="{radius:.0f}"'
    )
    words = (
        f'<text x="{at.x:.0f}" y="{at.y + 4:.0f}" font-size="12.5" fill="{INK}" '
        f'text-anchor="middle">{at.label}</text>'
    )
    return [
        f'<rect {place} height="{HEIGHT_OF_BOX}" rx="{radius:.0f}" fill="{fill}" stroke="{edge}"/>',
        words,
    ]


def draw(drawing: Drawing) -> str:
    """The picture as SVG."""
    boxes, height = place(drawing), 2 * MARGIN + HEIGHT_OF_BOX + ROW * (len(drawing.rows) - 1)
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
    )
    tip += f'<path d="M0 0 L8 4 L0 8 z" fill="{FAINT}"/></marker>'
    parts = [f"<defs>{tip}</defs>", f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    for written in drawing.arrows.split():
        start, _, end = written.partition("~>" if "~>" in written else ">")
        parts.append(arrow(boxes[start], boxes[end], dashed="~>" in written))
    parts += [part for one in boxes.values() for part in box(one)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def drawings() -> dict[str, str]:
    """{file name: its content}."""
    return {f"{name}.svg": draw(drawing) for name, drawing in (SHARINGS | FUNNELS).items()}


if __name__ == "__main__":
    folder = Path(__file__).with_name("architectures")
    folder.mkdir(exist_ok=True)
    for file, content in drawings().items():
        (folder / file).write_text(content)
