"""What biases an energy, or its interval: each kind of sensor in scenes made for it, at machines whose truth is known.

Run it:  python benchmarks/energy_scenes.py --sessions 300
One:     python benchmarks/energy_scenes.py --sensor ina3221x --scene steady --json
"""

from __future__ import annotations

import argparse
import json
import time

from edgecost.devices.virtual.sensors import SENSORS
from edgecost.devices.virtual.trials import SCENES, Outcome, Side, try_sensor


def main() -> None:
    """Print a row for each sensor and scene, as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300, help="of each sensor in each scene")
    parser.add_argument("--sensor", choices=sorted(SENSORS), action="append")
    parser.add_argument("--scene", choices=sorted(SCENES), action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    asked = parser.parse_args()
    begin = time.monotonic()
    if not asked.json:
        print(_row("scene", "sensor", "statuses", "bias ± se", "spread", "chance", "bounds", "stated", "(net:)"))
    for scene in asked.scene or SCENES:
        for sensor in asked.sensor or SENSORS:
            outcome = try_sensor(SENSORS[sensor], SCENES[scene], asked.sessions)
            print(json.dumps(outcome.document()) if asked.json else _told(outcome), flush=True)
    if not asked.json:
        print(f"{time.monotonic() - begin:.0f} s")


def _told(outcome: Outcome) -> str:
    statuses = " ".join(f"{count} {name}" for name, count in sorted(outcome.statuses.items()))
    return _row(outcome.scene, outcome.sensor, statuses, *_cells(outcome.gross), *_cells(outcome.net))


def _cells(side: Side) -> list[str]:
    if side.bias is None or side.bias_error is None:
        return ["–"] * 5
    shares = (side.spread, side.chance, side.bounds, side.systematic)
    return [f"{side.bias:+.3%} ± {side.bias_error:.3%}", *("–" if one is None else f"{one:.1%}" for one in shares)]


def _row(*cells: str) -> str:
    widths = (31, 14, 24, *(18, 7, 7, 7, 7) * 2)
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False))


if __name__ == "__main__":
    main()
