"""Analysis: an AOD under O2's names, ``o2.open_aod("aod/")[0].tracks.pt()``, columns read when first touched.

Imports `o2dask`, never `reco`: it works on any AOD, ours or O2's.
"""

from o2dask.analysis.aod import Aod, open_aod
from o2dask.analysis.frames import Dataframe, Dataframes
from o2dask.analysis.table import Row, Table

__all__ = ["Aod", "Dataframe", "Dataframes", "Row", "Table", "open_aod"]
