"""Small AODs on disk: every table of the first issue with random contents, and collisions with physics in them.

And real files of ALICE: where they lie beside the checkout they are used, and made ones of the same make everywhere.
"""

from pathlib import Path

import numpy as np
import pytest
import uproot
from aod_samples import random_dataframe
from physics_samples import aod_tables, sample

from o2dask.analysis import execute
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
def many(tmp_path_factory):
    """Seventy dataframes of 10, 12, 14... tracks: DF_1000 to DF_1069."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(70):
        commit_dataframe(Store(folder), 1000 + i, random_dataframe(i, 10 + 2 * i), {})
    return folder


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    """Storage that fails is tried again at once."""
    monkeypatch.setattr(execute, "RETRY_AFTER_S", 0.001)


@pytest.fixture(scope="session")
def physics_aod(tmp_path_factory):
    """Two dataframes of 60 collisions with K0S and Lambdas."""
    folder = tmp_path_factory.mktemp("physics_aod")
    for i in range(2):
        rng = np.random.default_rng(i)
        made = sample(rng, n_collisions=60, n_primaries=rng.integers(10, 150, 60), n_k0s=6, n_lambda=6)
        commit_dataframe(Store(folder), (500000 << 32) + 32 * i, aod_tables(rng, made), {})
    return folder


SHARED = Path(__file__).parents[2] / "../shared/data/aod"
UD, HF, BC = "AO2D_ud_run529399.root", "AnalysisResults_trees_hf.root", "AO2D_core_metadata.root"


def made_file(path):
    """Write a file with trees and branches of the real file of that name."""
    rng = np.random.default_rng(1)
    bcs = {"fGlobalBC": np.arange(5, dtype=np.uint64)}
    pairs = {"fIndexUDCollisions": np.repeat(np.arange(5, dtype=np.int32), 2), "fSign": np.tile([1, -1], 5)}
    tables = {
        UD: {
            "O2udcollision": bcs | {"fPosZ": rng.normal(0, 5, 5).astype(np.float32)},
            "O2udtrack": pairs | {name: rng.normal(0, 1, 10).astype(np.float32) for name in ("fPx", "fPy", "fPz")},
            "O2udtrackpid": {"fTPCNSigmaPi": rng.normal(0, 1, 10).astype(np.float32)},
        },
        HF: {"O2hftrackidxp2": {f"fIndexTracks_{i}": np.arange(20, dtype=np.int32) for i in range(2)}},
        BC: {"O2bc_001": {"fRunNumber": np.full(5, 544121, np.int32), "fTriggerMask": np.zeros(5, np.uint64)} | bcs},
    }[path.name]
    numbers = {UD: (2273751408283648, 2273751408289536), HF: (2835049532001,), BC: (2300500827629248,)}[path.name]
    with uproot.recreate(path) as file:
        for number in numbers:
            for tree, columns in tables.items():
                file.mktree(f"DF_{number}/{tree}", columns)
    return path


def real_or_made(name, kind, factory):
    real = SHARED / name
    return real if kind == "real" and real.exists() else made_file(factory.mktemp("made") / name)


@pytest.fixture(scope="session", params=["real", "made"])
def ud_file(request, tmp_path_factory):
    """Derived tables of ultra-peripheral collisions."""
    return real_or_made(UD, request.param, tmp_path_factory)


@pytest.fixture(scope="session", params=["real", "made"])
def hf_file(request, tmp_path_factory):
    """Derived tables of heavy flavours, which point into another file."""
    return real_or_made(HF, request.param, tmp_path_factory)


@pytest.fixture(scope="session", params=[UD, HF, BC])
def real_file(request, tmp_path_factory):
    """Every real file there is."""
    return real_or_made(request.param, "real", tmp_path_factory)
