"""A small SVG: a panel per case, a point per call, time of submit against latency."""

from __future__ import annotations

WIDTH, HEIGHT, LEFT, TOP, GAP = 560, 110, 46, 26, 34
SECONDS_UP = 3.0
"""Latencies above this are drawn at the rim."""
INK, PALE, POINT, FAULT = "#222", "#ddd", "#1f6fb4", "#c0392b"


def picture(cases: dict[str, list[tuple[float, float]]], fault_s: float, load_s: float) -> str:
    """`cases`: name -> (submitted, latency) of each call, in seconds."""
    height = TOP + len(cases) * (HEIGHT + GAP) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 14} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{LEFT}" y="14">'
        "latency of each call in seconds, by the second in which it was submitted</text>",
    ]
    for number, (name, calls) in enumerate(cases.items()):
        parts += panel(name, calls, TOP + number * (HEIGHT + GAP), fault_s, load_s)
    return "\n".join([*parts, "</svg>\n"])


def panel(name: str, calls: list[tuple[float, float]], top: int, fault_s: float, load_s: float) -> list[str]:
    def x(seconds: float) -> float:
        return LEFT + WIDTH * seconds / load_s

    def y(seconds: float) -> float:
        return top + HEIGHT * (1 - min(seconds, SECONDS_UP) / SECONDS_UP)

    lines = []
    for second in range(int(SECONDS_UP) + 1):
        lines.append(f'<path d="M{LEFT} {y(second):.0f}h{WIDTH}" stroke="{PALE}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y(second) + 4:.0f}" text-anchor="end">{second}</text>')
    for second in range(int(load_s) + 1):
        lines.append(
            f'<text x="{x(second):.0f}" y="{top + HEIGHT + 14}" text-anchor="middle">{second}</text>'
        )
    points = "".join(f"M{x(at):.1f} {y(took):.1f}h0" for at, took in calls)
    return [
        *lines,
        f'<path d="M{x(fault_s):.1f} {top}v{HEIGHT}" stroke="{FAULT}" stroke-dasharray="4 3"/>',
        f'<text x="{x(fault_s) + 5:.0f}" y="{top + 11}" fill="{FAULT}">{name}</text>',
        f'<path d="{points}" stroke="{POINT}" stroke-width="3.4" stroke-linecap="round" opacity="0.7"/>',
    ]
