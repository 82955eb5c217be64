"""The dynamic and expression columns of the AOD as vectorised functions, a module per group of tables.

Source of every formula: AliceO2, Framework/Core/include/Framework/AnalysisDataModel.h (October 2024), as
written down in `o2dask/aod/model.json`. float32 in, float32 out; guards as in O2.
"""

from o2dask.analysis.formulas import covariance, detectors, extra, forward, mc, tracks, zdc
from o2dask.analysis.formulas.registry import FORMULAS, Formula, formula, register

__all__ = [
    "FORMULAS",
    "Formula",
    "covariance",
    "detectors",
    "extra",
    "formula",
    "forward",
    "mc",
    "register",
    "tracks",
    "zdc",
]
