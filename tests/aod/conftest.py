"""Tables and dataframes with values drawn from a fixed seed, and the real files where they are at hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from o2dask.aod.model import tables
from o2dask.columns import Columns, Jagged, Schema
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

SHARED = Path(__file__).parents[2] / "../shared"


def random_table(schema: Schema, n_rows: int, seed: int = 1) -> Columns:
    """Return a table with every bit pattern of its types possible except NaN; variable columns hold 0 to 3 values."""
    rng = np.random.default_rng([seed, n_rows])
    arrays = {}
    for column in schema.columns:
        offsets = np.zeros(n_rows + 1, np.int32)
        np.cumsum(rng.integers(0, 4, n_rows), out=offsets[1:])
        shape = (int(offsets[-1]),) if column.is_jagged else (n_rows, *column.shape)
        if column.dtype.startswith("float"):
            values = rng.normal(0, 100, shape).astype(column.dtype)
        elif column.dtype == "bool":
            values = rng.integers(0, 2, shape).astype(bool)
        else:
            info = np.iinfo(column.dtype)
            values = rng.integers(info.min, info.max, shape, column.dtype, endpoint=True)
        arrays[column.name] = Jagged(offsets, values) if column.is_jagged else values
    return Columns(schema, arrays)


def valid_dataframe(n_tracks: int = 50, seed: int = 1) -> dict[str, Columns]:
    """Return a small dataframe that keeps every relation: bc, collisions, tracks with cov and extra, MC truth, FT0."""
    n_bcs, n_collisions, n_particles = 7, 4, 30
    rng = np.random.default_rng(seed)
    sizes = {
        "O2bc_001": n_bcs,
        "O2collision_001": n_collisions,
        "O2track_iu": n_tracks,
        "O2trackcov_iu": n_tracks,
        "O2trackextra_001": n_tracks,
        "O2mctracklabel": n_tracks,
        "O2mccollisionlabel": n_collisions,
        "O2mccollision_001": 5,
        "O2mcparticle_001": n_particles,
        "O2ambiguoustrack": 3,
        "O2ft0": 6,
    }
    made = {tree: dict(random_table(tables()[tree].schema, n, seed)) for tree, n in sizes.items()}
    made["O2bc_001"]["fGlobalBC"] = np.sort(rng.choice(10_000, n_bcs, replace=False)).astype(np.uint64)
    groups = np.sort(rng.integers(-1, n_collisions, n_tracks)).astype(np.int32)
    made["O2track_iu"]["fIndexCollisions"] = groups
    made["O2mcparticle_001"]["fIndexMcCollisions"] = np.sort(rng.integers(0, 5, n_particles)).astype(np.int32)
    slices = np.sort(rng.integers(0, n_particles, (n_particles, 2)), axis=1).astype(np.int32)
    slices[::3] = -1
    made["O2mcparticle_001"]["fIndexSlice_Daughters"] = slices
    mothers = made["O2mcparticle_001"]["fIndexArray_Mothers"]
    made["O2mcparticle_001"]["fIndexArray_Mothers"] = mothers._replace(content=np.abs(mothers.content) % n_particles)
    made["O2ambiguoustrack"]["fIndexSliceBCs"] = np.array([[0, 0], [-1, -1], [2, n_bcs - 1]], np.int32)
    for tree, arrays in made.items():
        for column in tables()[tree].columns:
            if column.kind == "index" and column.name not in ("fIndexCollisions", "fIndexMcCollisions"):
                arrays[column.name] = rng.integers(-1, sizes[column.target], sizes[tree]).astype(np.int32)
    made["O2mccollisionlabel"]["fIndexMcCollisions"] = rng.integers(-1, 5, n_collisions).astype(np.int32)
    return {tree: Columns(tables()[tree].schema, arrays) for tree, arrays in made.items()}


def as_outputs(dataframe: Mapping[str, Columns]) -> dict[DataRef, Columns]:
    return {tables()[tree].ref: columns for tree, columns in dataframe.items()}


def timeframe(i: int = 0) -> TimeframeRef:
    tf = TimeframeId(run=544122, tf_counter=i, first_orbit=1000 + 32 * i)
    return TimeframeRef(id=tf, url="tf.ctf", index=i)


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Columns]:
    return random_table


@pytest.fixture(scope="session")
def make_dataframe() -> Callable[..., dict[str, Columns]]:
    return valid_dataframe


@pytest.fixture(scope="session")
def make_outputs() -> Callable[..., dict[DataRef, Columns]]:
    return lambda **settings: as_outputs(valid_dataframe(**settings))


@pytest.fixture(scope="session")
def make_ref() -> Callable[..., TimeframeRef]:
    return timeframe


@pytest.fixture(scope="session")
def leaves() -> dict[str, list[str]]:
    """Return the leaf string of every column by tree: from the facts, else from the committed list."""
    facts = SHARED / "facts/aod_model.json"
    if facts.exists():
        entries = json.loads(facts.read_text())["tables"]
        return {entry["tree"]: [column["leaf"] for column in entry["columns"]] for entry in entries}
    return json.loads((Path(__file__).parent / "leaves.json").read_text())


@pytest.fixture(scope="session")
def ud_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return real derived data (43 dataframes, one of them empty); where it is not at hand, a file of its make-up."""
    real = SHARED / "data/aod/AO2D_ud_run529399.root"
    return real if real.exists() else _imitation(tmp_path_factory.mktemp("ud") / real.name)


def _imitation(path: Path) -> Path:
    import uproot

    from o2dask.aod.root_writer import _write_map

    numbers = [2273751408283648 + 1000 * i for i in range(43)]
    n_collisions = [0, 15, *[5] * 40, 10]
    n_tracks = [0, 11, *[13] * 40, 20]
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        for number, n_coll, n_trk in zip(numbers, n_collisions, n_tracks, strict=True):
            folder = file.mkdir(f"DF_{number}")
            for tree, n, branches in (
                ("O2udcollision", n_coll, {"fGlobalBC": "uint64", "fPosX": "float32", "fNetCharge": "int8"}),
                ("O2udtrack", n_trk, {"fIndexUDCollisions": "int32", "fPx": "float32", "fTrackTime": "float64"}),
                ("O2udtrackextra", n_trk, {"fTPCSignal": "float32", "fTPCNClsFindable": "uint8"}),
                ("O2udtrackpid", n_trk, {"fTPCNSigmaPi": "float32"}),
            ):
                written = folder.mktree(tree, branches, title=tree)
                if n:
                    written.extend({name: np.arange(n).astype(kind) for name, kind in branches.items()})
        _write_map(file, "parentFiles", {f"DF_{n}": f"/alice/data/2022/LHC22s/529399/{n}/AO2D.root" for n in numbers})
    return path
