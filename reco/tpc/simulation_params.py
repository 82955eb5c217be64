"""Settings of the TPC simulation; knows parameters, no particle, no cluster and no kernel."""

from dataclasses import dataclass, fields

from o2dask.errors import SpecError
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, N_ROWS, N_SECTORS

__all__ = ["TpcSimParams"]

_SIGNED = ("bz_kg", "offset_bins")


@dataclass(frozen=True, slots=True, kw_only=True)
class TpcSimParams:
    """Settings of the TPC simulation; defaults are those of O2 where it has them.

    Attributes
    ----------
    bz_kg : float
        Solenoid field [kG], constant.
    cm_per_time_bin, offset_bins : float
        Drift per time bin [cm], and the time of charge without drift [time bin]; see `DriftVelocity`.
    material_scale : float
        Weight of all walls and of the gas as scatterer; 0 gives perfect helices, 1 is nature.
    max_path : float
        Path [cm] after which a looper is given up and counted. Too low loses turns, too high costs time for
        particles that hardly move along z.
    min_momentum : float
        Momentum [GeV/c] under which a particle is stopped. Its circle is then (0.003: 2 cm across) a blob on few
        pad rows; lower costs time, higher loses the spirals that fill the TPC with single clusters.
    intrinsic_y, intrinsic_z : tuple of 3 float
        Error of a cluster [cm] without diffusion and angle, for pads of IROC, OROC 1, OROC 2-3: the constants of
        O2's parametrised cluster errors (GPUParam, facts/tpc_compression.md).
    pad_response : float
        Width [cm] of the charge cloud behind the GEM stack (estimate).
    shaper_width : float
        Width of the electronics' pulse [time bin]: fourth-order shaper, 160 ns peaking time, sqrt(5)/4 of it.
    adc_per_electron : float
        q_tot of one drift electron [ADC]: gain 2000, 20 mV/fC, 1024 counts on 2.2 V, pulse area 1.03 time bins of
        its height.
    gain_variance : float
        Relative variance of the gain for one electron; 1 is an exponential.
    attachment_per_us : float
        Electrons lost per us of drift (O2's AttCoeff * OxygenCont).
    noise_adc, threshold_adc : float
        Noise of one digit and the least q_max of a cluster [ADC].
    merge_pads, merge_times : float
        Least distance at which two clusters are told apart [pad, time bin]; wide clusters need `merge_sigmas` of
        their width. Too low: more clusters than a cluster finder would find; too high: dense rows are eaten.
    noise_rate : float
        Noise clusters per pad row and time bin.
    dead : tuple of (sector, first_row, last_row, first_pad, last_pad)
        Pads that give no cluster, ends included.
    """

    bz_kg: float = BZ_KG
    cm_per_time_bin: float = CM_PER_TIME_BIN
    offset_bins: float = 0.0
    material_scale: float = 1.0
    max_path: float = 2500.0
    min_momentum: float = 0.003
    intrinsic_y: tuple[float, float, float] = (0.0418, 0.0829, 0.0868)
    intrinsic_z: tuple[float, float, float] = (0.0596, 0.0613, 0.0658)
    pad_response: float = 0.08
    shaper_width: float = 0.45
    adc_per_electron: float = 3.06
    gain_variance: float = 1.0
    attachment_per_us: float = 250.0 * 5e-6
    noise_adc: float = 1.0
    threshold_adc: float = 3.0
    merge_pads: float = 2.0
    merge_times: float = 2.5
    merge_sigmas: float = 2.0
    noise_rate: float = 1e-4
    dead: tuple[tuple[int, int, int, int, int], ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and field.name not in _SIGNED and not value >= 0.0:
                raise SpecError(f"TpcSimParams.{field.name}: want a number >= 0, got {value!r}")
        if self.cm_per_time_bin < 0.05:
            raise SpecError(f"TpcSimParams.cm_per_time_bin: want 0.05 cm or more, got {self.cm_per_time_bin!r}")
        if abs(self.bz_kg) < 0.01:
            raise SpecError(f"TpcSimParams.bz_kg: want a field of at least 0.01 kG, got {self.bz_kg!r}; use 0.01")
        if not 0.0 < self.merge_times <= 8.0 or self.gain_variance <= 0.0 or self.max_path <= 0.0:
            raise SpecError(f"TpcSimParams: want 0 < merge_times <= 8, gain_variance and max_path > 0, got {self}")
        for dead in self.dead:
            if len(dead) != 5 or not (0 <= dead[0] < N_SECTORS and 0 <= dead[1] <= dead[2] < N_ROWS):
                raise SpecError(
                    f"TpcSimParams.dead: want (sector, first_row, last_row, first_pad, last_pad), got {dead}"
                )
