"""Draw the curves of delete.py as an SVG of a few kilobytes, written by hand: one row a net, two panels each."""

from __future__ import annotations

import math

WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 220, 56, 46, 90
SPAN_DECIBELS = 24.0
"""How far above the least value a panel reaches; curves leave it at the top."""
COLOURS = {"saliency": "#0b6e4f", "magnitude": "#c8553d", "predicted": "#3066be"}


def draw(results: list[dict]) -> str:
    """The whole picture; of each net its first seed."""
    height = TOP + len(results) * (HEIGHT + GAP)
    width = 2 * (LEFT + WIDTH) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for row, net in enumerate(results):
        run, y = net["runs"][0], TOP + row * (HEIGHT + GAP)
        actual = curve(run["saliency"], "error")
        pairs = (
            (
                "deleted by saliency and by magnitude",
                {"saliency": actual, "magnitude": curve(run["magnitude"], "error")},
            ),
            ("predicted and actual", {"predicted": curve(run["saliency"], "predicted"), "saliency": actual}),
        )
        parts.append(f'<text x="{LEFT}" y="{y - 26}" font-size="13" font-weight="bold">{net["title"]}</text>')
        for column, (title, curves) in enumerate(pairs):
            parts += panel(LEFT + column * (LEFT + WIDTH), y, title, curves, run["parameters"])
    return "\n".join([*parts, "</svg>", ""])


def curve(rows: list[dict], key: str) -> list[tuple[float, float]]:
    """Parameters left and the error in dB."""
    return [(row["left"], 10 * math.log10(row[key])) for row in rows]


def panel(x: int, y: int, title: str, curves: dict[str, list[tuple[float, float]]], parameters: int) -> list[str]:
    """Axes, curves and their names."""
    low = math.floor(min(value for points in curves.values() for _, value in points)) - 1
    found = [f'<text x="{x}" y="{y - 8}">{title}</text>']
    found.append(f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>')
    for step in range(0, int(SPAN_DECIBELS) + 1, 6):
        at = y + HEIGHT - step / SPAN_DECIBELS * HEIGHT
        found.append(f'<line x1="{x}" y1="{at:.1f}" x2="{x + WIDTH}" y2="{at:.1f}" stroke="#eee"/>')
        found.append(f'<text x="{x - 6}" y="{at + 4:.1f}" text-anchor="end">{low + step}</text>')
    step = 10 ** math.floor(math.log10(parameters)) / (2 if parameters < 5e3 else 1)
    for number in range(int(parameters / step) + 1):
        at = x + number * step / parameters * WIDTH
        found.append(f'<text x="{at:.1f}" y="{y + HEIGHT + 15}" text-anchor="middle">{number * step:,.0f}</text>')
    found.append(f'<text x="{x + WIDTH / 2}" y="{y + HEIGHT + 30}" text-anchor="middle">parameters left</text>')
    found.append(
        f'<text transform="translate({x - 40} {y + HEIGHT / 2}) rotate(-90)" text-anchor="middle">error, dB</text>'
    )
    for number, (name, points) in enumerate(curves.items()):
        inside = [(left, value - low) for left, value in points if value - low <= SPAN_DECIBELS]
        path = " ".join(
            f"{x + left / parameters * WIDTH:.1f},{y + HEIGHT - rise / SPAN_DECIBELS * HEIGHT:.1f}"
            for left, rise in inside
        )
        dash = ' stroke-dasharray="5 3"' if name == "predicted" else ""
        found.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"{dash}/>')
        label = "actual" if name == "saliency" and "predicted" in curves else name
        place = f'x="{x + WIDTH - 8}" y="{y + 18 + 15 * number}"'
        found.append(f'<text {place} text-anchor="end" fill="{COLOURS[name]}">{label}</text>')
    return found
