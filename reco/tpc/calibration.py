"""The conditions of the TPC as its reconstruction takes them: made once per set of objects, kept on the worker.

What needs the true z of clusters (corrections, a field that is not the same everywhere) is applied once a track's time
is known: `needs_refit`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from o2dask.reco.calibration.inputs import calibration, once_per_object
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.tpc.field import O2_FIELD_5KG

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["TpcCalibration", "tpc_calibration"]

INPUTS = ("field", "drift", "gain", "corrections", "beam")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TpcCalibration:
    """What reconstruction knows of the state of the TPC.

    Attributes
    ----------
    bz_kg : float
        Field at the centre [kG].
    field_map : ndarray, (3, 10), float64, optional
        Polynomial of the field [kG] where it is not the same everywhere, as `field.O2_FIELD_5KG`.
    drift : DriftVelocity
    beam : MeanVertex
    gain : ndarray, (36, 152, 138), float32, optional
        Of every pad; None: 1.
    corrections : CorrectionMap, optional
        None: 0.
    """

    bz_kg: float = BZ_KG
    field_map: np.ndarray | None = None
    drift: DriftVelocity = field(default_factory=DriftVelocity)
    beam: MeanVertex = field(default_factory=MeanVertex)
    gain: np.ndarray | None = None
    corrections: CorrectionMap | None = None

    @property
    def needs_refit(self) -> bool:
        """Whether there is something that depends on the true z."""
        return self.field_map is not None or self.corrections is not None

    @classmethod
    def of(
        cls,
        *,
        field: MagneticField | None = None,
        drift: DriftVelocity | None = None,
        gain: PadGain | None = None,
        corrections: CorrectionMap | None = None,
        beam: MeanVertex | None = None,
    ) -> "TpcCalibration":
        """Return what these conditions mean; those left out are the defaults, and what changes nothing is None."""
        field = field or MagneticField()
        scale = field.l3_current / MagneticField().l3_current
        return cls(
            bz_kg=field.bz_kg,
            field_map=None if field.is_uniform else O2_FIELD_5KG * scale,
            drift=drift or DriftVelocity(),
            beam=beam or MeanVertex(),
            gain=None if gain is None or gain.is_null else gain.per_pad(),
            corrections=None if corrections is None or corrections.is_null else corrections,
        )


def tpc_calibration(ctx: "ProcessingContext") -> TpcCalibration:
    """Return the calibration of the timeframe, the same object as long as the conditions are the same."""
    return once_per_object(
        ctx, INPUTS, "TpcCalibration", lambda: TpcCalibration.of(**{name: calibration(ctx, name) for name in INPUTS})
    )
