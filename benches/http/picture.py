"""Draws docs/figures.svg: our figures as docs/performance.md has them, beside those of others.

    python3 benches/http/picture.py        (after docs/performance.md got a new table)

Those of others were measured on 2026-11-22 on a machine of the same kind, server and load generator pinned to one CPU each:
remark42 4793c1c, Isso 0.14.0, Waline 1.39.3. Bars are logarithmic: each line is ten times the one before."""

import math
import os
import re
from html import escape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTHERS = {
    "lists": {"remark42": 7588, "Waline": 46, "Isso": 26},
    "submissions": {"remark42": 345, "Isso": 214, "Waline": 96},
    "memory": {"remark42": 34, "Isso": 167, "Waline": 254},
    "start": {"remark42": 63, "Isso": 432, "Waline": 2879},
}
PANELS = [
    ("lists", "Lists of 25 comments, per second (more is better)", r"SQLite: list of 25 \(\d+ bytes\), 32 connections \| (\d+)/s"),
    ("submissions", "Comments taken and on disk, per second (more is better)", r"\| submissions, 32 connections \| (\d+)/s"),
    ("memory", "Memory at rest, MiB (less is better)", r"\| resident memory at rest / [^|]*\| ([\d.]+) /"),
    ("start", "Start to first answer, ms (less is better)", r"\| start to first answer \| (\d+) ms"),
]
WIDTH, ROW, LABEL, BARS = 720, 22, 96, 520

STYLE = """text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .quiet { fill: #59636e; font-size: 11px }
.ours { fill: #0b6e4f } .other { fill: #afb8c1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #9198a1 } .ours { fill: #3fb68b } .other { fill: #4b535d } }"""


def own(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"docs/performance.md has no row like {pattern}")
    return float(found.group(1))


def panel(top, title, values):
    """A title and a bar for each of (name, value); returns the lines of SVG and where the next panel begins."""
    lines = [f'<text class="title" x="0" y="{top + 14}">{escape(title)}</text>']
    most = math.ceil(math.log10(max(value for _, value in values)))
    for number, (name, value) in enumerate(values):
        y = top + 24 + number * ROW
        width = max(2.0, BARS * math.log10(max(value, 1.01)) / most)
        kind = "ours" if name == "Afterword" else "other"
        lines.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        lines.append(f'<rect class="{kind}" x="{LABEL}" y="{y + 2}" width="{width:.0f}" height="{ROW - 7}" rx="2"/>')
        lines.append(f'<text x="{LABEL + width + 6:.0f}" y="{y + 13}">{value:,.0f}</text>')
    return lines, top + 24 + len(values) * ROW + 18


def main():
    with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as file:
        text = file.read()
    lines, top = [], 4
    for key, title, pattern in PANELS:
        values = [("Afterword", own(pattern, text)), *OTHERS[key].items()]
        drawn, top = panel(top, title, values)
        lines += drawn
    lines.append(f'<text class="quiet" x="0" y="{top + 4}">One CPU for the server. Bars are logarithmic. How, when and where: docs/performance.md</text>')
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 12}" role="img" aria-label="Afterword beside remark42, Isso and Waline">',
           f"<style>{STYLE}</style>", *lines, "</svg>", ""]
    with open(os.path.join(ROOT, "docs", "figures.svg"), "w", encoding="utf-8") as file:
        file.write("\n".join(svg))


if __name__ == "__main__":
    main()
