"""Small AODs on disk: every table of the first issue with random contents, and collisions with physics in them."""

import numpy as np
import pytest
from aod_samples import random_dataframe
from physics_samples import aod_tables, sample

from o2dask.aod.store import Store, commit_dataframe

RUN = 500000
N_TRACKS = (200, 0, 120)


@pytest.fixture(scope="session")
def dataframes():
    return [random_dataframe(seed, n) for seed, n in enumerate(N_TRACKS)]


@pytest.fixture(scope="session")
def aod_folder(tmp_path_factory, dataframes):
    """Three dataframes, one of them empty."""
    folder = tmp_path_factory.mktemp("aod")
    for i, dataframe in enumerate(dataframes):
        commit_dataframe(Store(folder), (RUN << 32) + 32 * i, dataframe, {})
    return folder


@pytest.fixture
def aod(aod_folder):
    from o2dask.analysis import open_aod

    return open_aod(aod_folder)


@pytest.fixture(scope="session")
def physics_aod(tmp_path_factory):
    """Two dataframes of 60 collisions with K0S and Lambdas."""
    folder = tmp_path_factory.mktemp("physics_aod")
    for i in range(2):
        rng = np.random.default_rng(i)
        made = sample(rng, n_collisions=60, n_primaries=rng.integers(10, 150, 60), n_k0s=6, n_lambda=6)
        commit_dataframe(Store(folder), (500000 << 32) + 32 * i, aod_tables(rng, made), {})
    return folder
