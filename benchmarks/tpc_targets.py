"""The targets of TPC tracking on O2's own events, line by line: ours beside O2's figures beside the target.

Knows figures only; `tpc_tracking.py` measures and `../shared/tools/eval_tpc.py` judges. O2's figures and
the resolutions of its `s1000` set are those of `../shared/data/README.md` and `o2_resolution_s1000.txt`.
"""

import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parents[2] / "shared" / "tools"
CALIBRATE_MS = 53.0
"""What `calibrate.py` printed on the core where O2 was timed: CPU times are compared at that speed."""
RESOLUTIONS = ("pt_rel_percent", "y_mm", "z_mm", "phi_mrad", "tgl_1e3")
PULLS = ("pull_y", "pull_z", "pull_tgl", "pull_qpt")
RATIO, PULL_RANGE, SPEED_UP = 1.02, (0.95, 1.05), 1.8
FIRST_START_S, READY_S = 60.0, 5.0
HALF_WIDTH_ERROR = 0.96
"""Standard deviation of the 68 % half width of n Gaussian values, over it, times sqrt(n)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTargets:
    """Figures of one kind of event, O2's and wanted; rates in percent per findable track, NaN: none."""

    eff: tuple[float, float]
    """O2 and target."""
    eff_hard: tuple[float, float]
    clone: tuple[float, float]
    fake: tuple[float, float]
    hiteff_hard: tuple[float, float]
    us: tuple[float, float]
    """CPU time per cluster on one thread [us] at `CALIBRATE_MS`."""


NONE = math.nan
SETS = {
    "g1000": SetTargets(
        eff=(99.87, 99.9), eff_hard=(99.97, 99.97), clone=(1.6, 0.4), fake=(0.1, 0.1), hiteff_hard=(98.8, 99.0),
        us=(1.7, 0.34),
    ),
    "g5000": SetTargets(
        eff=(99.64, 99.9), eff_hard=(99.80, 99.9), clone=(2.1, 0.4), fake=(0.5, 0.15), hiteff_hard=(98.3, 99.0),
        us=(2.1, 0.42),
    ),
    "20k": SetTargets(
        eff=(98.04, 99.0), eff_hard=(98.97, 99.5), clone=(2.4, NONE), fake=(2.7, NONE), hiteff_hard=(96.5, NONE),
        us=(3.5, 0.60),
    ),
}  # fmt: skip
ALIASES = {"overlay20k": "20k", "g20000": "20k"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table: as printed, and whether the target is met (None: there is none; only within errors?)."""

    text: str
    ours: str
    o2_same: str
    o2: str
    target: str
    is_met: bool | None
    is_within_errors: bool = False

    @property
    def verdict(self) -> str:
        if self.is_met is None:
            return ""
        return "within errors" if self.is_met and self.is_within_errors else "met" if self.is_met else "MISSED"


def set_of(name: str) -> str:
    """Return the kind of an event by its name: g1000_3 is a g1000."""
    stem = name.split("_")[0]
    return ALIASES.get(stem, stem)


def calibrate() -> float:
    """Return what `calibrate.py` prints now [ms]; NaN where it is not there."""
    script = TOOLS / "calibrate.py"
    if not script.exists():
        return NONE
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=True)
    found = re.search(r"([\d.]+) ms", done.stdout)
    return float(found.group(1)) if found else NONE


def judge(data: Path, tracks: Path, names: Iterable[str], out: Path) -> dict[str, Any]:
    """Return the judge's figures by event; none where the judge is not there."""
    script, names = TOOLS / "eval_tpc.py", list(names)
    if not script.exists() or not names:
        return {}
    command = [sys.executable, str(script), str(data), str(tracks), *names, "--json", str(out)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return {r["name"]: r for r in json.loads(out.read_text())}


def pooled(results: Iterable[dict[str, Any]], part: str, key: str) -> tuple[float, int]:
    """Return a rate over events, in percent, and the findable tracks behind it."""
    cells = [(r[part]["n"], r[part][key]) for r in results if r[part]["n"]]
    n = sum(count for count, _ in cells)
    return (100 * sum(count * value for count, value in cells) / n, n) if n else (NONE, 0)


def pooled_bin(results: Iterable[dict[str, Any]], index: int, key: str) -> tuple[float, int]:
    """Return a half width of one pt bin over events, each with the weight of its tracks, and how many there are."""
    cells = [(b["n"], b[key]) for b in (r["bins"][index] for r in results) if key in b]
    n = sum(count for count, _ in cells)
    return (sum(count * value for count, value in cells) / n, n) if n else (NONE, 0)


def o2_resolutions(folder: Path) -> list[dict[str, float]]:
    """Return O2's resolutions per pt bin on its s1000 events: tracks, and half widths in the judge's units."""
    path = folder / "o2_resolution_s1000.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [line.split() for line in lines if re.match(r"\s*[\d.]+-[\d.]+\s", line)]
    return [{"n": float(row[1])} | {k: float(v) for k, v in zip(RESOLUTIONS, row[2:7], strict=True)} for row in rows]


def _at_least(text: str, ours: float, same: float, o2: float, target: float, digits: int = 2) -> Line:
    is_met = None if math.isnan(target) or math.isnan(ours) else round(ours, digits) >= target
    return _line(text, (ours, same, o2, target), ">=", digits, is_met)


def _at_most(text: str, ours: float, same: float, o2: float, target: float, digits: int = 2) -> Line:
    is_met = None if math.isnan(target) or math.isnan(ours) else round(ours, digits) <= target
    return _line(text, (ours, same, o2, target), "<=", digits, is_met)


def _line(text: str, values: tuple[float, ...], sign: str, digits: int, is_met: bool | None) -> Line:
    ours, same, o2, target = ("-" if math.isnan(v) else f"{v:.{digits}f}" for v in values)
    return Line(
        text=text, ours=ours, o2_same=same, o2=o2, target=target if target == "-" else f"{sign} {target}", is_met=is_met
    )


def quality_lines(ours: dict[str, Any], o2: dict[str, Any]) -> list[Line]:
    """Return efficiencies, clones, fakes and hit efficiencies of each kind of event; `o2`: its tracks judged alike."""
    out = []
    for kind, wanted in SETS.items():
        mine = [r for name, r in ours.items() if set_of(name) == kind]
        same = [r for name, r in o2.items() if set_of(name) == kind]
        if not mine:
            continue
        for text, part, key, (theirs, target), make in (
            ("efficiency, all", "all", "eff", wanted.eff, _at_least),
            ("efficiency, pT > 0.5", "above_0.5", "eff", wanted.eff_hard, _at_least),
            ("clones, all", "all", "clone", wanted.clone, _at_most),
            ("fakes, all", "all", "fake", wanted.fake, _at_most),
            ("hit efficiency, pT > 0.5", "above_0.5", "hiteff", wanted.hiteff_hard, _at_least),
        ):
            out.append(
                make(f"{kind}: {text} [%]", pooled(mine, part, key)[0], pooled(same, part, key)[0], theirs, target)
            )
    return out


def resolution_lines(ours: dict[str, Any], o2: dict[str, Any], reference: list[dict[str, float]]) -> list[Line]:
    """Return the worst pt bin of each resolution, ours over O2's: on its s1000 events, and on the same events.

    Events are few: a ratio comes with its statistical error. A line counts as missed where a bin is above the target by
    more than two of them, as within errors where it is above by less. On the same events most of the error cancels and
    none is given.
    """
    mine = [r for name, r in ours.items() if set_of(name) == "g1000"]
    same = [r for name, r in o2.items() if set_of(name) == "g1000"]
    out = []
    for key in RESOLUTIONS if mine and reference else ():
        ratios = []
        for index, theirs in enumerate(reference):
            value, n = pooled_bin(mine, index, key)
            ratio = value / theirs[key]
            ratios.append((ratio, ratio * HALF_WIDTH_ERROR * math.sqrt(1 / max(n, 1) + 1 / theirs["n"]), index))
        ratios = [r for r in ratios if not math.isnan(r[0])]
        if not ratios:
            continue
        worst, error, index = max(ratios)
        both = [(pooled_bin(mine, i, key)[0], pooled_bin(same, i, key)[0]) for i in range(len(reference))]
        paired = [a / b for a, b in both if not math.isnan(a + b)]
        beyond = sum(ratio - 2 * e > RATIO for ratio, e, _ in ratios)
        mean = statistics.fmean(r[0] for r in ratios)
        lo, hi = mine[0]["bins"][index]["pt"]
        shown = f"{worst:.2f}({100 * error:.0f})"
        against = f"{max(paired):.2f}, mean {statistics.fmean(paired):.2f}" if paired else "-"
        text = f"g1000: {key} over O2's, worst bin {lo}-{hi}"
        target = f"<= {RATIO}"
        out.append(Line(
            text=text,
            ours=f"{shown}, mean {mean:.2f}",
            o2_same=against,
            o2="1",
            target=target,
            is_met=beyond == 0,
            is_within_errors=round(worst, 2) > RATIO,
        ))  # fmt: skip
    return out


def pull_lines(ours: dict[str, Any], o2: dict[str, Any]) -> list[Line]:
    """Return the widths of pulls above 0.5 GeV/c over all events of O2's generator, with their statistical errors.

    A line counts as missed where it is outside the range by more than two of them, as within errors where by less.
    """
    out = []
    mine = [r for name, r in ours.items() if set_of(name) in ("g1000", "g5000")]
    same = [r for name, r in o2.items() if set_of(name) in ("g1000", "g5000")]
    for key in PULLS if mine else ():
        width, n = _pull(mine, key)
        if not n:
            continue
        theirs, _ = _pull(same, key) if same else (NONE, 0)
        error = width * HALF_WIDTH_ERROR / math.sqrt(max(n, 1))
        low, high = PULL_RANGE
        out.append(Line(
            text=f"pulls, pT > 0.5: {key.removeprefix('pull_')}", ours=f"{width:.3f}({1000 * error:.0f})",
            o2_same="-" if math.isnan(theirs) else f"{theirs:.3f}", o2="0.95-1.14", target=f"{low}-{high}",
            is_met=low - 2 * error <= width <= high + 2 * error,
            is_within_errors=not low <= round(width, 2) <= high,
        ))  # fmt: skip
    return out


def _pull(results: list[dict[str, Any]], key: str) -> tuple[float, int]:
    bins = [i for i, b in enumerate(results[0]["bins"]) if b["pt"][0] >= 0.5]
    cells = [pooled_bin(results, i, key) for i in bins]
    n = sum(count for _, count in cells)
    return sum(value * count for value, count in cells if count) / max(n, 1), n


def speed_lines(results: list[dict[str, Any]], calibrated_ms: float) -> list[Line]:
    """Return CPU time per cluster at the reference core's speed, what a second thread gains, same bits or not.

    Walls are the least of the runs: others use the machine too.
    """
    out = []
    scale = 1.0 if math.isnan(calibrated_ms) else CALIBRATE_MS / calibrated_ms
    for kind, wanted in SETS.items():
        mine = [r["cpu_us_per_cluster"] for r in results if set_of(r["name"]) == kind and r["threads"] == 1]
        if mine:
            us = statistics.fmean(mine)
            text = f"{kind}: CPU us per cluster, 1 thread (here {us:.3f})"
            out.append(_at_most(text, us * scale, NONE, *wanted.us, digits=3))
    names = list(dict.fromkeys(r["name"] for r in results))
    by_key = {(r["name"], r["threads"]): r for r in results}
    for name in names:
        if (name, 1) in by_key and (name, 2) in by_key:
            gain = by_key[name, 1]["least_wall_s"] / by_key[name, 2]["least_wall_s"]
            out.append(_at_least(f"{name}: 2 threads over 1, wall", gain, NONE, 1.9, SPEED_UP))
    threads = sorted({r["threads"] for r in results})
    if len(threads) > 1:
        digests = {name: {r["digest"] for r in results if r["name"] == name} for name in names}
        is_same = all(len(d) == 1 for d in digests.values())
        text = f"the same bits on {' and '.join(map(str, threads))} threads"
        same = "yes" if is_same else "no: " + ", ".join(n for n, d in digests.items() if len(d) > 1)
        out.append(Line(text=text, ours=same, o2_same="-", o2="no", target="yes", is_met=is_same))
    return out


def start_lines(starts: dict[str, float]) -> list[Line]:
    """Return how long a process takes to its first tracks, CPU seconds where kernels are compiled."""
    if not starts:
        return []
    first, ready = starts["first_cpu_s"], starts["cached_wall_s"]
    return [
        _at_most("first start: all kernels compiled [CPU s]", first, NONE, NONE, FIRST_START_S, digits=1),
        _at_most("start with cached kernels to first tracks [s]", ready, NONE, NONE, READY_S, digits=1),
    ]


def report(lines: list[Line]) -> None:
    """Print the table."""
    if not lines:
        print("no event of those with targets")
        return
    columns = ("", "ours", "O2, same events", "O2", "target", "")
    cells = [columns, *((n.text, n.ours, n.o2_same, n.o2, n.target, n.verdict) for n in lines)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        rest = "  ".join(c.rjust(w) for c, w in zip(row[1:-1], widths[1:-1], strict=True))
        print(f"{row[0]:<{widths[0]}}  {rest}  {row[-1]}".rstrip())
    judged = [n for n in lines if n.is_met is not None]
    if judged:
        n_close = sum(n.verdict == "within errors" for n in judged)
        print(f"{sum(n.verdict == 'met' for n in judged)} of {len(judged)} lines met, {n_close} within errors")
