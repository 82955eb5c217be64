"""Tasks on collisions: selection, centrality, and the time of their bunch crossings."""

import numpy as np

import o2dask as o2
from o2dask.analysis.physics.centrality import calibrate_centrality, load_centrality
from o2dask.analysis.physics.selection import EventSelection
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.tasks.tables import Centralities, CollisionSelections
from o2dask.conditions.runinfo import load_run_info
from o2dask.timeframe import BC_NS

__all__ = ["Centrality", "EventSelector", "TimestampMaker"]


class EventSelector(AnalysisTask):
    """Makes CollisionSelections: which collisions are good, and the cut flow."""

    max_abs_z = o2.Configurable(10.0, "largest |posZ| [cm]", minimum=0)
    min_contributors = o2.Configurable(1, "least tracks in the vertex fit", minimum=0)
    max_chi2 = o2.Configurable(-1.0, "largest chi2 of the fit per contributor; -1: any")

    table = o2.Produces[CollisionSelections]
    flow = o2.Output(None, lambda one, other: one + other if one and other else one or other)

    def process(self, collisions: o2.Collisions) -> None:
        """Select the collisions of a dataframe."""
        cuts = EventSelection(
            max_abs_z=self.max_abs_z,
            min_contributors=self.min_contributors,
            max_chi2=self.max_chi2 if self.max_chi2 >= 0 else None,
        )
        bits, flow = cuts.bits(collisions), cuts.flow(collisions)
        self.table(bits == 0xFFFFFFFF, bits)
        self.flow = flow if self.flow is None else self.flow + flow


class Centrality(AnalysisTask):
    """Makes Centralities: percentiles of the number of contributors, by a calibration that an earlier run made.

    Without a calibration it makes one: ``result.calibration.save("centrality.json")``, then
    ``Centrality(calibration="centrality.json")``.
    """

    calibration_file = o2.Configurable("", "of `CentralityCalibration.save`; none: make one")

    table = o2.Produces[Centralities]
    amplitudes = o2.Output([])
    calibration = o2.Output(None, lambda one, other: one or other)

    def process(self, collisions: o2.Collisions) -> None:
        """Give the collisions of a dataframe their percentile."""
        amplitude = collisions.numContrib()
        if not self.calibration_file:
            self.amplitudes += [amplitude]
            self.table(np.full(len(amplitude), 101.0))
        else:
            self.table(load_centrality(self.calibration_file).percentile(amplitude))

    def end(self) -> None:
        """Make the calibration of the sample."""
        if self.amplitudes:
            self.calibration = calibrate_centrality(np.concatenate(self.amplitudes), "numContrib")
        self.amplitudes = []


class TimestampMaker(AnalysisTask):
    """Makes Timestamps: when each bunch crossing was, by the run's clock in the conditions."""

    conditions = o2.Service("conditions")
    table = o2.Produces[o2.Timestamps]

    def process(self, bcs: o2.BCs) -> None:
        """Give the bunch crossings of a dataframe their time [ms since 1970]."""
        runs, since_reset_us = bcs.runNumber(), bcs.globalBC().astype(np.float64) * (BC_NS / 1000)
        time = np.zeros(len(runs), np.uint64)
        for run in np.unique(runs):
            info = load_run_info(self.conditions, int(run))  # the run's store is in its place
            time[runs == run] = ((info.orbit_reset_us + since_reset_us[runs == run]) / 1000).astype(np.uint64)
        self.table(time)
