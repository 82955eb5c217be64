"""A small AOD on disk: three dataframes with every table of the first issue, one of them empty."""

import pytest
from aod_samples import random_dataframe

from o2dask.aod.store import Store, commit_dataframe

RUN = 500000
N_TRACKS = (200, 0, 120)


@pytest.fixture(scope="session")
def dataframes():
    return [random_dataframe(seed, n) for seed, n in enumerate(N_TRACKS)]


@pytest.fixture(scope="session")
def aod_folder(tmp_path_factory, dataframes):
    folder = tmp_path_factory.mktemp("aod")
    for i, dataframe in enumerate(dataframes):
        commit_dataframe(Store(folder), (RUN << 32) + 32 * i, dataframe, {})
    return folder


@pytest.fixture
def aod(aod_folder):
    from o2dask.analysis import open_aod

    return open_aod(aod_folder)
