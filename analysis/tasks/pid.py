"""Tasks of particle identification: number of sigmas in the TPC and in the TOF. As O2Physics' pidTPC and pidTOF."""

import numpy as np

import o2dask as o2
from o2dask.analysis.physics.pid_tof import TofResponse, tof_beta, tof_n_sigma
from o2dask.analysis.physics.pid_tpc import TpcResponse, tpc_n_sigma
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.tasks.tables import SPECIES, TracksPidTof, TracksPidTpc

__all__ = ["PidTof", "PidTpc"]

_DEFAULT = TpcResponse()


class PidTpc(AnalysisTask):
    """Makes TracksPidTpc: tpcNSigmaEl, Pi, Ka, Pr."""

    bethe_bloch = o2.Configurable(list(_DEFAULT.bethe_bloch), "ALEPH parameters of the energy loss")
    mip = o2.Configurable(_DEFAULT.mip, "signal of a minimum ionising particle", minimum=1e-6)
    charge_factor = o2.Configurable(_DEFAULT.charge_factor, "power of the charge by which signals grow")
    resolution = o2.Configurable(list(_DEFAULT.resolution), "r0, r1 of the width r0 sqrt(1 + r1/clusters)")

    pid = o2.Produces[TracksPidTpc]

    def process(self, tracks: o2.Join[o2.Tracks, o2.TracksExtra]) -> None:
        """Identify the tracks of a dataframe."""
        response = TpcResponse(
            bethe_bloch=tuple(self.bethe_bloch),
            mip=self.mip,
            charge_factor=self.charge_factor,
            resolution=tuple(self.resolution),
        )
        self.pid(*(tpc_n_sigma(tracks, species, response) for species in SPECIES))


class PidTof(AnalysisTask):
    """Makes TracksPidTof: beta, and tofNSigmaEl, Pi, Ka, Pr, for the time of the collision as it is stored."""

    time_resolution = o2.Configurable(TofResponse().time, "of the detector [ps]", minimum=1e-3)
    event_time = o2.Configurable(0.0, "of all collisions, relative to the BC of the track's time [ps]")
    event_time_error = o2.Configurable(0.0, "of all collisions [ps]", minimum=0)

    pid = o2.Produces[TracksPidTof]

    def process(self, tracks: o2.Join[o2.Tracks, o2.TracksExtra]) -> None:
        """Identify the tracks of a dataframe."""
        response = TofResponse(time=self.time_resolution)
        time = self.event_time, self.event_time_error
        n_sigma = (tof_n_sigma(tracks, species, response, *time) for species in SPECIES)
        self.pid(tof_beta(tracks, self.event_time).astype(np.float32), *n_sigma)
