"""Share of a campaign's time that is neither warm-up nor measuring, on a fresh database in a temporary folder.

Run it:  python benchmarks/runner_overhead.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from edgecost import Store
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.space_campaign import measure_space
from edgecost.costmodels.space_file import load_space


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="ofa-mobilenetv3", help="search space [default: ofa-mobilenetv3]")
    parser.add_argument("--cells", type=int, help="measure this many workloads at most [default: all]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    setting = LocalSetting.here()
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder, Store(Path(folder, "fresh.sqlite")) as store:
        space = load_space(arguments.space)
        outcome = measure_space(store, setting, space, Silent(), panel_share=0.0, limit=arguments.cells)
    times = outcome.report.times
    result = {
        "device": setting.device.description,
        "profile": setting.profile.label,
        "space": space.name,
        **outcome.document(),
        "warmup_s": times.warmup_s,
        "measuring_s": times.measuring_s,
        "workloads_per_minute": 60 * outcome.report.measured / times.total_s,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{space.name} on {setting.device.description}, {setting.profile.label}")
    print(f"  workloads measured {outcome.report.measured:8d}")
    print(f"  total              {times.total_s:8.1f} s")
    print(f"  warm-up            {times.warmup_s:8.1f} s")
    print(f"  measuring          {times.measuring_s:8.1f} s")
    print(f"  outside both       {times.outside_share:8.1%}")
    print(f"  per minute         {result['workloads_per_minute']:8.0f}")


if __name__ == "__main__":
    main()
