"""Energies measured on boards whose energies are known: bias against the stated bound, and what intervals hold.

Hundreds of virtual sessions for each kind of sensor, each with its rate, its resolution, its noise, and a gain and an
offset inside its bounds. Nothing is slept: a session of minutes takes milliseconds.

Run it:  python benchmarks/energy_coverage.py --sessions 400
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass, replace

from edgecost.devices.virtual.power import VirtualBoard
from edgecost.devices.virtual.presets import LAWS, SENSORS
from edgecost.profiler.energy.session import measure_load
from edgecost.profiler.energy.windows import EnergySettings


@dataclass(frozen=True)
class Coverage:
    """Of one kind of sensor, in per cent but for counts; held: of sessions whose interval holds what it should.

    ``chance`` is judged against what an endless measurement with the same sensor would say, system and all.
    """

    sessions: int
    without_number: int
    windows: float
    window_s: float
    minutes: float
    gross_bias: float
    gross_bound: float
    net_bias: float
    net_bound: float
    gross_held: float
    net_held: float


def covered(kind: str, sessions: int, settings: EnergySettings, seed: int) -> Coverage:
    sensor, law = SENSORS[kind], LAWS[kind]
    errors = sensor.errors
    # What the sensor would say for ever: its own gain and offset, and no chance.
    seen = replace(
        law,
        active_mw=law.active_mw * errors.gain + errors.offset_mw,
        idle_mw=law.idle_mw * errors.gain + errors.offset_mw,
    )
    found, without, windows, lengths, minutes, warmed_mw = [], 0, [], [], [], []
    for number in range(sessions):
        board = VirtualBoard(law, sensor.facts, errors, seed=seed * 100_000 + number)
        made = measure_load(board, board, settings, seed=number)
        minutes.append(board.rest(0.0).end_ns / 60e9)
        windows.append(len(made.windows))
        if made.energy.gross_median_mj is None or made.energy.net_median_mj is None:
            without += 1
            continue
        # A board that warms up really takes more: by the middle of the session, since that is when windows are.
        warmed_mw.append(law.drift_mw_per_s * board.rest(0.0).end_ns / 2e9)
        lengths.append((made.energy.window_ms or 0.0) / 1e3)
        found.append(made.energy)
    gross, net = [one.gross_median_mj for one in found], [one.net_median_mj for one in found]
    return Coverage(
        sessions=sessions,
        without_number=without,
        windows=statistics.mean(windows),
        window_s=statistics.median(lengths),
        minutes=statistics.mean(minutes),
        gross_bias=100 * (statistics.mean(gross) / law.gross_mj - 1),
        gross_bound=100 * statistics.mean(one.gross_systematic_mj for one in found) / law.gross_mj,
        net_bias=100 * (statistics.mean(net) / law.net_mj - 1),
        net_bound=100 * statistics.mean(one.net_systematic_mj for one in found) / law.net_mj,
        gross_held=100
        * statistics.mean(
            one.gross_lo_mj <= seen.gross_mj + warmed * errors.gain * law.run_s <= one.gross_hi_mj
            for one, warmed in zip(found, warmed_mw, strict=True)
        ),
        net_held=100 * statistics.mean(one.net_lo_mj <= seen.net_mj <= one.net_hi_mj for one in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument(
        "--sensor", action="append", choices=sorted(SENSORS), help="May be given again.  [default: all]"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = EnergySettings()
    found = {kind: covered(kind, options.sessions, settings, options.seed) for kind in options.sensor or SENSORS}
    if options.json:
        print(json.dumps({kind: asdict(one) for kind, one in found.items()}))
        return
    print(f"{options.sessions} sessions each; % of the true energy, and % of sessions whose 95 % interval holds it\n")
    print("sensor      windows    of   minutes   gross bias (bound)   held    net bias (bound)   held   no number")
    for kind, one in found.items():
        gross = f"{one.gross_bias:9.2f} ({one.gross_bound:.2f}) {one.gross_held:11.1f}"
        net = f"{one.net_bias:9.2f} ({one.net_bound:.2f}) {one.net_held:10.1f}"
        length = f"{one.windows:8.1f} {one.window_s:5.1f} s {one.minutes:7.1f}"
        print(f"{kind:10} {length} {gross} {net} {one.without_number:8d}")


if __name__ == "__main__":
    main()
