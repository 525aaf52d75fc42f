"""
The pace of a load (loader/decisions/pacing.py) on simulated tables; nothing is sent anywhere.

    python -m perf.pacing [--plots FOLDER] [--only NAME...] [--seeds N]

Prints a table in Markdown, of each scenario the worst of N seeds; `--plots` writes an SVG of each (seed 0).
Used: of all that could be had, those units included that buckets held at the begin or gained in pauses.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from perf.harness import markdown
from perf.pacing_load import TICK, Tick
from perf.pacing_scenarios import SCENARIOS, Measured, Scenario, measure
from perf.plots import Line, chart

_HEADS = (
    "scenario",
    "what",
    "used %",
    "refused %",
    "s to 90 %",
    "least part %",
    "worst 10 s",
)


def worst(found: Sequence[Measured]) -> Measured:
    """Of several runs the worst of everything."""
    return Measured(
        min(each.used for each in found),
        max(each.refused for each in found),
        max(each.reached for each in found),
        tuple(map(min, zip(*(each.parts for each in found), strict=True))),
        (min(each.window[0] for each in found), max(each.window[1] for each in found)),
    )


def _line(scenario: Scenario, found: Measured) -> tuple[str, ...]:
    parts = f"{100 * min(found.parts):.0f}" if len(found.parts) > 1 else ""
    return (
        scenario.name,
        scenario.told,
        f"{100 * found.used:.2f}",
        f"{100 * found.refused:.2f}",
        f"{found.reached:.1f}",
        parts,
        f"{found.window[0]:,.0f} to {found.window[1]:,.0f}",
    )


def plot(scenario: Scenario, ticks: Sequence[Tick]) -> str:
    """Capacity, rates, accepted and refused over time; what is far above the capacity is left out."""
    several = len(ticks[0].rates) > 1
    lines = [Line("capacity", [(tick.at, tick.capacity) for tick in ticks], dashed=True)]
    for of in range(len(ticks[0].rates)):
        name = f" {of + 1}" if several else ""
        lines.append(Line(f"rate{name}", [(tick.at, tick.rates[of]) for tick in ticks]))
        lines.append(Line(f"accepted{name}", _smooth([(tick.at, tick.accepted[of]) for tick in ticks])))
    lines.append(Line("refused", _smooth([(tick.at, sum(tick.refused)) for tick in ticks])))
    top = 1.6 * max(tick.capacity for tick in ticks)
    return chart(f"{scenario.name}: {scenario.told}", "seconds", "write units a second", lines, top)


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Units of each tick as units a second, over half a second: requests are lumps."""
    width = round(0.5 / TICK)
    smooth = []
    for at in range(len(points)):
        part = points[max(0, at - width + 1) : at + 1]
        smooth.append((points[at][0], sum(units for _, units in part) / (len(part) * TICK)))
    return smooth


def main(argv: Sequence[str] | None = None) -> None:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m perf.pacing", description=__doc__.split("\n")[1])
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write one SVG a scenario")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    asked = parser.parse_args(argv)
    lines = []
    for scenario in SCENARIOS:
        if scenario.name not in asked.only:
            continue
        runs = [scenario.play(seed) for seed in range(asked.seeds)]
        if asked.plots is not None:
            asked.plots.mkdir(parents=True, exist_ok=True)
            name = scenario.name.replace(" ", "-")
            (asked.plots / f"{name}.svg").write_text(plot(scenario, runs[0]), encoding="utf-8")
        lines.append(_line(scenario, worst([measure(scenario, ticks) for ticks in runs])))
    print(markdown(_HEADS, lines))


if __name__ == "__main__":
    main()
