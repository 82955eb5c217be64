"""Every registered workflow: batch and stream give the bytes of inline, on a small simulated CTF."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from o2dask.ctf import CtfSink, list_timeframes
from o2dask.reco.simulation.timeframes import TimeframeParams, timeframe_refs
from o2dask.runners.inline import run_inline
from o2dask.runners.testing import StreamContract
from o2dask.workflow import Topology, compile_workflow, list_workflows, load_workflow

SIM = {"event-generator": {"system": "pp", "collisions": 2}}
REFS = timeframe_refs(TimeframeParams(system="pp", collisions=2), 3)


def simulation() -> Topology:
    return compile_workflow(load_workflow("sim"), SIM)


@pytest.fixture(scope="module")
def ctf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CTF of three timeframes of two pp collisions."""
    path = str(tmp_path_factory.mktemp("registered") / "tf.ctf")
    assert run_inline(simulation(), REFS, CtfSink(path)).ok
    return path


class TestSimulation(StreamContract):
    name = "sim"

    def topology(self) -> Topology:
        return simulation()

    def timeframes(self, folder: Path):
        return REFS

    def source(self, folder: Path) -> str:
        return "simulated_source:timeframes"


class TestReconstruction(StreamContract):
    name = "async"

    @pytest.fixture(autouse=True)
    def _file(self, ctf: str) -> Iterator[None]:
        self.ctf = ctf
        yield

    def topology(self) -> Topology:
        return compile_workflow(load_workflow("async"))

    def timeframes(self, folder: Path):
        return list_timeframes([self.ctf])


def test_every_registered_workflow_is_held_to_the_contract() -> None:
    assert set(list_workflows()) == {case.name for case in (TestSimulation, TestReconstruction)}


@pytest.mark.parametrize("name", sorted(list_workflows()))
def test_every_registered_workflow_survives_json(name: str) -> None:
    topology = compile_workflow(load_workflow(name))
    again = Topology.from_json(topology.to_json())
    assert again == topology
    assert again.fingerprint == topology.fingerprint
