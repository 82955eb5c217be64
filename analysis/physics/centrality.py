"""Centrality: the percentile of an event in a distribution of multiplicities or amplitudes.

Knows arrays and a small JSON file. 0 % is the event with the largest amplitude, as everywhere in ALICE
(Phys. Rev. C 88 (2013) 044909). Below an anchor point, where trigger or electromagnetic background distort the sample,
percentiles are not trusted: the part above is said to be so many percent of the cross section.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from o2dask.errors import ConfigError, DataError

__all__ = ["CentralityCalibration", "calibrate_centrality", "load_centrality"]

FORMAT = "o2dask-centrality-1"
OUTSIDE = 101.0
"""Percentile of events below the anchor, or not finite (O2 uses values above 100 for what is not calibrated)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralityCalibration:
    """Amplitudes and the percentile of events with that amplitude or more.

    Attributes
    ----------
    estimator : str
        What was measured, "numContrib" or "multFT0M".
    amplitudes : tuple of float
        Growing.
    percentiles : tuple of float
        Falling [%], one per amplitude; linear in between.
    anchor : float
        Amplitude below which events are outside (percentile 101).
    n_events : int
        Calibrated with so many.
    """

    estimator: str
    amplitudes: tuple[float, ...]
    percentiles: tuple[float, ...]
    anchor: float = float("-inf")
    n_events: int = 0

    def __post_init__(self) -> None:
        if len(self.amplitudes) != len(self.percentiles) or not self.amplitudes:
            raise ConfigError(
                f"centrality of {self.estimator!r}: want as many amplitudes as percentiles, "
                f"got {len(self.amplitudes)} and {len(self.percentiles)}"
            )
        if (np.diff(self.amplitudes) <= 0).any() or (np.diff(self.percentiles) > 0).any():
            raise ConfigError(f"centrality of {self.estimator!r}: want growing amplitudes and falling percentiles")

    def percentile(self, amplitude: Any) -> np.ndarray:
        """Return the percentile [%] of events, (n,) float32; 101 below the anchor."""
        amplitude = np.asarray(amplitude, np.float64)
        found = np.interp(amplitude, self.amplitudes, self.percentiles)
        good = np.isfinite(amplitude) & (amplitude >= self.anchor)
        return np.where(good, found, OUTSIDE).astype(np.float32)

    def amplitude_at(self, percentile: Any) -> np.ndarray:
        """Return the amplitude whose events begin at a percentile: edges of centrality classes."""
        edges: np.ndarray = np.interp(percentile, self.percentiles[::-1], self.amplitudes[::-1])
        return edges

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the calibration as JSON."""
        content = {"format": FORMAT} | asdict(self)
        if not np.isfinite(self.anchor):
            content["anchor"] = None
        Path(path).write_text(json.dumps(content, allow_nan=False))


def calibrate_centrality(
    amplitude: Any,
    estimator: str = "multiplicity",
    *,
    anchor: float | None = None,
    anchor_percentile: float = 100.0,
    n_points: int = 1000,
) -> CentralityCalibration:
    """Return the calibration of a sample of events.

    Parameters
    ----------
    amplitude : array_like, (n,)
        One per event.
    estimator : str
        Its name.
    anchor, anchor_percentile : float
        Events at or above `anchor` are `anchor_percentile` percent of all; left out, all events are 100 %.
    n_points : int
        Largest number of stored points.

    Notes
    -----
    The percentile of an amplitude counts half of the events that have the same one, so that the mean over the sample is
    50 % also for small integer multiplicities.
    """
    values = np.sort(np.asarray(amplitude, np.float64))
    values = values[np.isfinite(values)]
    if anchor is not None:
        values = values[values >= anchor]
    if not len(values):
        raise DataError(f"centrality of {estimator!r}: want events, got none (anchor {anchor})")
    if not 0 < anchor_percentile <= 100 or n_points < 2:
        raise ConfigError(f"centrality: want 0 < anchor_percentile <= 100 and 2 points, got {anchor_percentile}")
    points, first, counts = np.unique(values, return_index=True, return_counts=True)
    above = len(values) - first - counts / 2
    if len(points) > n_points:
        # At equal steps in percentile, so that the rare central events keep their resolution.
        places = np.searchsorted(-above, -np.linspace(above[0], above[-1], n_points))
        chosen = np.unique(places.clip(0, len(points) - 1))
        points, above = points[chosen], above[chosen]
    return CentralityCalibration(
        estimator=estimator,
        amplitudes=tuple(points.tolist()),
        percentiles=tuple((anchor_percentile * above / len(values)).tolist()),
        anchor=float("-inf") if anchor is None else float(anchor),
        n_events=len(values),
    )


def load_centrality(path: "str | os.PathLike[str]") -> CentralityCalibration:
    """Return a calibration that `save` wrote.

    Raises
    ------
    DataError
        If the file is none, naming it.
    """
    try:
        content = json.loads(Path(path).read_text())
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        anchor = content.pop("anchor")
        return CentralityCalibration(
            estimator=str(content["estimator"]),
            amplitudes=tuple(float(v) for v in content["amplitudes"]),
            percentiles=tuple(float(v) for v in content["percentiles"]),
            anchor=float("-inf") if anchor is None else float(anchor),
            n_events=int(content["n_events"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{os.fspath(path)}: want a centrality calibration ({FORMAT}), got: {error}") from error
