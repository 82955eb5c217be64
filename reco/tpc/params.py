"""Settings of TPC tracking: each says its unit, where its default comes from, and what too low and too high cost."""

from dataclasses import dataclass, field

from o2dask.errors import ConfigError
from o2dask.reco.geometry.material import GAS

__all__ = ["ErrorModel", "GasModel", "LooperParams", "SeedRound", "TpcTrackingParams", "WidthModel", "reference_params"]


Terms = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorModel:
    """Variance of a cluster: ``constant + per_drift * drift [cm] + per_slope * tan2`` [cm2], for y and for z.

    Each is given for the pads of 0.75, 1.0, 1.2 and 1.5 cm. Too small: hits and tracks are lost and pulls are wide; too
    large: windows take neighbours and pulls are narrow.

    Defaults: variances of simulated clusters about the truth without their tails beyond 5 sigma
    (o2dask.reco.tpc.simulation_response_kernels at 1.2 times the least ionisation). The constant is the electronics',
    the drift's is diffusion over the electrons of a pad, the slope's the uneven ionisation along it. `merging_y` and
    `merging_z` multiply all, for clusters that neighbours pull aside: from pulls in simulated Pb-Pb, at 8
    collisions in 2 and in 32 orbits.
    """

    merging_y: float = 1.22
    merging_z: float = 1.3

    y: tuple[Terms, Terms, Terms, Terms] = (
        (0.0022, 4.1e-5, 0.0054),
        (0.0072, 2.9e-5, 0.0095),
        (0.0077, 2.4e-5, 0.0150),
        (0.0082, 1.6e-5, 0.0200),
    )
    z: tuple[Terms, Terms, Terms, Terms] = (
        (0.0048, 5.0e-5, 0.0060),
        (0.0042, 2.9e-5, 0.0095),
        (0.0047, 2.4e-5, 0.0140),
        (0.0045, 2.0e-5, 0.0200),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthModel:
    """What a cluster's width is made of besides diffusion, inclination and binning.

    cloud_cm : width of the charge behind the amplification [cm]; shaper_bins : of the electronics' pulse [time bin]
    (fourth order, 160 ns peaking time). Both as in the simulation; real ones are to be calibrated.
    """

    cloud_cm: float = 0.08
    shaper_bins: float = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class GasModel:
    """What the fit assumes of the gas.

    Mixture: o2dask.reco.geometry.material; excitation energy of neon (PDG); a pion. `is_on` false: no energy loss and
    no scattering, for simulations without material; `has_scattering` false: loss alone. `path_for_log_cm`: thickness in
    the logarithm of Highland's formula, which must not shrink with the step. `loss_scale`: part of the mean loss that a
    typical track has, without the rare hard electrons (1.4 of 1.7 keV/cm at the minimum).
    """

    is_on: bool = True
    has_scattering: bool = True
    density_g_cm3: float = GAS.density
    x0_cm: float = GAS.radiation_length
    z_over_a: float = GAS.z_over_a
    excitation_ev: float = 137.0
    mass_gev: float = 0.13957
    path_for_log_cm: float = 160.0
    loss_scale: float = 0.82


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRound:
    """One round of seeding. Later rounds see only what earlier ones left.

    row_first, row_step : outermost seeding row and rows between seeding rows. Larger steps save time and lose short
        tracks: 16 instead of 8 costs 0.04 % efficiency and saves up to 20 % of the time (facts/tpc_tracking.md).
    gap : rows between the three clusters of a seed. Small: directions are poor; large: more chance combinations.
    is_vertex : the curvature comes from pointing to the beam line: far fewer combinations, but primaries only.
    min_pt : [GeV/c] at the nominal field; lower finds more of the soft tracks and more chance combinations.
    slope_back, slope_out : largest |dz/dx| towards the central electrode and towards the pads.
    sigma_q2pt : [c/GeV] width of the prior on q/pt of rounds without vertex.
    """

    row_first: int = 151
    row_step: int = 8
    gap: int = 3
    is_vertex: bool = True
    min_pt: float = 0.08
    slope_back: float = 0.4
    slope_out: float = 2.2
    sigma_q2pt: float = 4.0

    def __post_init__(self) -> None:
        if self.gap < 1 or self.row_step < 1 or not 2 * self.gap <= self.row_first <= 151:
            raise ConfigError(f"seeding round: want gap, row_step >= 1 and 2 gap <= row_first <= 151, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LooperParams:
    """When two tracks are legs of one looper; narrow leaves clones, wide joins strangers in dense events.

    max_pt : of a leg [GeV/c]; above 0.19 a pion leaves the TPC before it turns back (0.5 T). 0: no merging.
    centre, radius : of the circles, in radii. slope : of dz per transverse length. z_cm, z_part : of z where the next
        leg begins, a constant [cm] and a part of the way. From simulated Pb-Pb; a pion of 0.1 GeV/c loses 2 % per turn.
    """

    max_pt: float = 0.2
    centre: float = 0.07
    radius: float = 0.07
    slope: float = 0.04
    z_cm: float = 2.5
    z_part: float = 0.05

    def __post_init__(self) -> None:
        if min(self.max_pt, self.centre, self.radius, self.slope, self.z_cm, self.z_part) < 0:
            raise ConfigError(f"loopers: want numbers >= 0, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TpcTrackingParams:
    """Settings of the TPC tracker.

    Attributes
    ----------
    n_sigma, max_window : search windows, in standard deviations and at most [cm]. Narrow loses hits at kinks and of
        soft tracks, wide takes neighbours.
    chi2_new, chi2_drop : largest chi2 (2 degrees of freedom) of a cluster that is added, and of one that stays.
    chi2_fit : the same in the final fit.
    max_misses : rows without a cluster after which a track ends. Low breaks tracks at dead zones, high lets them run on
        into others.
    max_snp : largest |sin phi| in a sector's frame; beyond, a track along the rows has poor y.
    min_clusters, min_density : a track's clusters, and clusters per row between its first and last.
    is_absolute : z is the true one (triggered data); otherwise it floats, as in continuous readout.
    merged_width : squared width of a cluster over the expected one above which it is two merged ones, and its error
        grows by the excess. Low: noise of the widths blurs good clusters (a width is known to a fifth); high: merged
        clusters pull tracks aside.
    merge_max_gap, merge_max_overlap : rows between two pieces of one track, or in both.
    merge_chi2 : largest chi2 (5 parameters) of two pieces; low leaves clones, high makes fakes.
    merge_window : largest distance in z of the ends [cm].
    pair_window, pair_rows, pair_rounds : distance in y and z [cm] at which two tracks are side by side, rows on which
        they must be, and how many partners a track exchanges clusters with; 0: none. Narrow or few leaves tracks with
        clusters of their neighbours in dense events; wide or many costs time.
    loopers : which tracks are legs of one looper.
    attachment_per_cm : electrons lost per cm of drift, for dE/dx: as simulated (O2's AttCoeff * OxygenCont over the
        drift velocity); real data give it by calibration.
    dedx_fraction : part of the clusters, those of least charge, whose mean is dE/dx.
    dedx_power : a typical charge grows with the path over the pad as path^(1 + dedx_power), so that dE/dx of 1 cm does
        not depend on pad length and dip angle. Default: from the four pad lengths of simulated clusters (0.16 between
        0.9 and 1.9 cm; 0.10 for the most probable loss alone, PDG review, eq. 34.12). 0 is charge per length.
    """

    n_sigma: float = 4.0
    max_window: float = 3.0
    chi2_new: float = 16.0
    chi2_drop: float = 25.0
    chi2_fit: float = 16.0
    max_misses: int = 10
    max_snp: float = 0.96
    min_clusters: int = 20
    min_density: float = 0.5
    is_absolute: bool = False
    merged_width: float = 1.5
    widths: WidthModel = field(default_factory=WidthModel)
    errors: ErrorModel = field(default_factory=ErrorModel)
    gas: GasModel = field(default_factory=GasModel)
    rounds: tuple[SeedRound, ...] = (
        SeedRound(min_pt=0.2),
        SeedRound(is_vertex=False, row_first=147, min_pt=0.05, slope_back=2.2),
    )
    merge_max_gap: int = 90
    merge_max_overlap: int = 25
    merge_chi2: float = 50.0
    merge_window: float = 60.0
    pair_window: tuple[float, float] = (0.45, 0.9)
    pair_rows: int = 16
    pair_rounds: int = 3
    loopers: LooperParams = field(default_factory=LooperParams)
    attachment_per_cm: float = 4.84e-4
    dedx_fraction: float = 0.6
    dedx_power: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.max_snp < 0.99:
            raise ConfigError(f"max_snp: want a value in (0, 0.99), got {self.max_snp}")
        if not 3 <= self.min_clusters <= 152:
            raise ConfigError(f"min_clusters: want 3 to 152, got {self.min_clusters}")
        if not 0 < self.dedx_fraction <= 1:
            raise ConfigError(f"dedx_fraction: want a value in (0, 1], got {self.dedx_fraction}")
        if not 0 <= self.dedx_power <= 1:
            raise ConfigError(f"dedx_power: want a value in [0, 1], got {self.dedx_power}")
        if not self.rounds:
            raise ConfigError("rounds: want at least one round of seeding, got none")


def reference_params() -> TpcTrackingParams:
    """Return the settings for events of O2's own generator: true z, no material.

    The gas is there with nothing in it: every step is computed, as with material, and changes nothing.
    Errors from 690 000 clusters of that generator about its tracks (they end at 3.5 of these), the same on all pads.
    """
    y, z = (0.00358, 7.66e-5, 0.0435), (0.0037, 1.19e-4, 0.0429)
    gas = GasModel(has_scattering=False, loss_scale=0.0)
    errors = ErrorModel(y=(y, y, y, y), z=(z, z, z, z), merging_y=1.0, merging_z=1.0)
    return TpcTrackingParams(is_absolute=True, chi2_fit=25.0, gas=gas, errors=errors)
