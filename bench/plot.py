"""Cost against added delay, one panel for each protocol, as a plain SVG."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from bench.report import TITLES, grouped, median

Row = dict[str, Any]
WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 330, 62, 56, 60
COLOURS = {
    "ours": "#0b6e4f",
    "floor": "#7a7a7a",
    "nginx": "#c1440e",
    "nms2": "#5b3fa0",
    "nms4": "#a03f8f",
    "gst": "#1f5fa8",
}
LABEL = {
    "ours": "penstock",
    "nginx": "nginx-rtmp",
    "nms2": "nms 2.7.4",
    "nms4": "nms 4.4.3",
    "gst": "gst-rtsp-server",
}
COSTS = {"server_cost": "the server", "sum_cost": "server and receiver"}


class Axis:
    """A logarithmic axis that covers its values with a margin."""

    def __init__(self, values: list[float], start: float, length: float, flip: bool = False) -> None:
        low, high = math.log10(min(values)) - 0.12, math.log10(max(values)) + 0.12
        if high - low < 1:
            middle = (low + high) / 2
            low, high = middle - 0.5, middle + 0.5
        self.low, self.high, self.start, self.length, self.flip = low, high, start, length, flip

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + self.length * (1 - part if self.flip else part)

    def ticks(self) -> list[float]:
        found = []
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            found += [
                d * 10.0**power for d in (1, 2, 5) if self.low <= math.log10(d * 10.0**power) <= self.high
            ]
        return found


def points(rows: list[Row], players: int, protocol: str, measure: str) -> list[dict[str, Any]]:
    found = []
    for (p, n, _), group in grouped(rows).items():
        delay, cost = median(group, "delay_ms", "p50"), median(group, measure)
        if (p, n) != (protocol, players) or not delay or not cost:
            continue
        first = group[0]
        label = LABEL.get(first["kind"], "")
        if first["window_setting"]:
            window = first["window_setting"]
            label = f"{window} ms" if window.isdigit() else window
        point = {
            "kind": first["kind"],
            "loop": first["loop"],
            "label": label,
            "delay": max(delay, 0.05),
            "cost": cost,
        }
        found.append(point | {"hollow": any(r["saturated"] or r["disturbed"] for r in group)})
    return found


def circle(x: float, y: float, fill: str, colour: str, inside: str = "") -> str:
    head = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2">'
    return f"{head}{inside}</circle>"


def panel(title: str, dots: list[dict[str, Any]], left: float, top: float) -> list[str]:
    x = Axis([d["delay"] for d in dots], left, WIDTH)
    y = Axis([d["cost"] for d in dots], top, HEIGHT, flip=True)
    out = [f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="#fff" stroke="#999"/>']
    out.append(f'<text x="{left + WIDTH / 2}" y="{top - 10}" class="title">{escape(title)}</text>')
    for tick in x.ticks():
        at = x(tick)
        out.append(f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{top + HEIGHT}" class="grid"/>')
        out.append(f'<text x="{at:.1f}" y="{top + HEIGHT + 16}" class="tick">{tick:g}</text>')
    for tick in y.ticks():
        at = y(tick)
        out.append(f'<line x1="{left}" y1="{at:.1f}" x2="{left + WIDTH}" y2="{at:.1f}" class="grid"/>')
        out.append(
            f'<text x="{left - 6}" y="{at + 4:.1f}" class="tick" style="text-anchor:end">{tick:g}</text>'
        )
    caption = "added delay, median, ms"
    out.append(f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT + 36}" class="tick">{caption}</text>')
    for kind, loop in dict.fromkeys((d["kind"], d["loop"]) for d in dots):
        line = sorted((d for d in dots if (d["kind"], d["loop"]) == (kind, loop)), key=lambda d: d["delay"])
        if len(line) > 1:
            path = " ".join(f"{x(d['delay']):.1f},{y(d['cost']):.1f}" for d in line)
            dash = ' stroke-dasharray="5 4"' if kind == "floor" else ""
            out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[kind]}"{dash}/>')
    taken: list[tuple[float, float, float]] = []
    for d in dots:
        colour = COLOURS[d["kind"]]
        fill = "#fff" if d["hollow"] else colour
        at_x, at_y = x(d["delay"]), y(d["cost"])
        dot = (
            f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"'
        )
        said = f"{d['label']}: {d['delay']:.1f} ms, {d['cost']:.3f} cpu-s/Gbit"
        out.append(f"{dot}><title>{escape(said)}</title></circle>")
        out.append(label(d["label"], at_x, at_y, colour, left + WIDTH, taken, above=d["kind"] != "floor"))
    return out


Taken = list[tuple[float, float, float]]  # of labels: left, right, base line


def label(text: str, x: float, y: float, colour: str, right: float, taken: Taken, above: bool) -> str:
    """Beside its point, moved up or down until it is clear of the labels already there."""
    width = 6.3 * len(text)
    start = x + 9 if x + 9 + width < right else x - 9 - width
    row = y - 6 if above else y + 14
    while any(abs(row - r) < 13 and start < e and s < start + width for s, e, r in taken):
        row += -13 if above else 13
    taken.append((start, start + width, row))
    return f'<text x="{start:.1f}" y="{row:.1f}" class="name" fill="{colour}">{escape(text)}</text>'


def legend(kinds: list[str], top: float) -> list[str]:
    names = LABEL | {"ours": "penstock, by write_window", "floor": "floor: a bare loop in C, by window"}
    out, at = [], float(LEFT)
    for kind in [*kinds, "hollow"]:
        colour = COLOURS.get(kind, "#444")
        text = names.get(kind, "hollow: saturated, or the machine was not quiet")
        fill = colour if kind in COLOURS else "#fff"
        out.append(circle(at, top, fill, colour))
        out.append(f'<text x="{at + 10}" y="{top + 4}" class="name" fill="#222">{escape(text)}</text>')
        at += 28 + 6.4 * len(text)
    return out


def draw(rows: list[Row], players: int) -> str:
    """A row of panels for what the server costs, and one for what both sides cost."""
    protocols = [p for p in TITLES if points(rows, players, p, "server_cost")]
    found = {(m, p): points(rows, players, p, m) for m in COSTS for p in protocols}
    kinds = [k for k in COLOURS if any(d["kind"] == k for dots in found.values() for d in dots)]
    width = max(LEFT + len(protocols) * (WIDTH + GAP), 900)
    row_height = HEIGHT + TOP + 50
    height = row_height * len(COSTS) + 40
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        "<style>text{font-family:sans-serif;font-size:11px}.title{font-size:13px;text-anchor:middle}"
        ".tick{text-anchor:middle;fill:#444}.side{text-anchor:end;fill:#444}.grid{stroke:#ddd}"
        ".head{font-size:15px;font-weight:bold}</style>",
        f'<rect width="{width}" height="{height}" fill="#fafafa"/>',
    ]
    for row, (measure, who) in enumerate(COSTS.items()):
        top = row * row_height + TOP
        head = f"cpu-s/Gbit of {who} against added delay, {players} players (down and left is better)"
        out.append(f'<text x="{LEFT}" y="{top - 34}" class="head">{head}</text>')
        for i, protocol in enumerate(protocols):
            out += panel(TITLES[protocol], found[measure, protocol], LEFT + i * (WIDTH + GAP), top)
    out += legend(kinds, height - 20)
    return "\n".join([*out, "</svg>", ""])
