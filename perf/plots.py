"""Line charts as SVG, written by hand: axes, a legend, colours that can be read on light and on dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 64, 50
# Of middling lightness; the text takes the reader's own colour scheme.
COLOURS = ("#2f81f7", "#d1512d", "#2ea043", "#a371f7", "#bf8700", "#db61a2", "#1b9e9e", "#808080")
_STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.grid{stroke:#8b949e;stroke-opacity:.35}"
    ".axis{stroke:#6e7681}.paper{fill:#ffffff}"
    "@media(prefers-color-scheme:dark){text{fill:#d0d7de}.paper{fill:#0d1117}}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """Points (x, y) in order of x; where y is None the line is broken."""

    name: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False


def chart(title: str, x_label: str, y_label: str, lines: Sequence[Line], top: float | None = None) -> str:
    """An SVG document. The y axis begins at 0 and ends at `top`, above which lines are broken."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if y is not None]
    left, right = min(xs, default=0.0), max(xs, default=1.0)
    highest = top if top is not None else max(ys, default=1.0)
    scale = _Scale(left, max(right, left + 1e-9), max(highest, 1e-9))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text x="{LEFT}" y="22" font-weight="bold">{escape(title)}</text>',
        *_grid(scale),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>",
    ]
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        style = f'stroke="{colour}" stroke-width="1.6"{dash}'
        parts += [f'<path fill="none" {style} d="{path}"/>' for path in scale.paths(line.points)]
        at = LEFT + number * (WIDTH - LEFT - RIGHT) / max(4, len(lines))
        parts.append(f'<line {style} x1="{at:.0f}" x2="{at + 24:.0f}" y1="42" y2="42"/>')
        parts.append(f'<text x="{at + 30:.0f}" y="46">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    left: float
    right: float
    top: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)

    def paths(self, points: Iterable[tuple[float, float | None]]) -> list[str]:
        paths: list[str] = []
        broken = True
        for x, y in points:
            if y is None or y > self.top:
                broken = True
                continue
            place = f"{self.x(x):.1f} {self.y(y):.1f}"
            if broken:
                paths.append(f"M{place}")
            else:
                paths[-1] += f"L{place}"
            broken = False
        return paths


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for value in _ticks(0.0, scale.top):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>')
    for value in _ticks(scale.left, scale.right):
        x = scale.x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:,.10g}</text>'
        )
    parts.append(
        f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
    )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Some six round numbers between the two."""
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
