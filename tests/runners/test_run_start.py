"""A worker that is killed while it starts takes Dask's cluster with it: another is started, and not for ever."""

import pytest

from o2dask.errors import ConfigError
from o2dask.runners import local
from o2dask.runners.settings import BatchSettings


def failing(n_failures: int, made: list[int]):
    def start(**options: object) -> str:
        made.append(int(options["n_workers"]))
        if len(made) <= n_failures:
            raise RuntimeError("Cluster failed to start") from RuntimeError("Nanny failed to start")
        return "cluster"

    return start


@pytest.mark.parametrize("n_failures", [0, 1, 2])
def test_a_cluster_that_fails_to_start_is_started_again(n_failures: int, monkeypatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(local, "LocalCluster", failing(n_failures, made))
    assert local.start_cpu(BatchSettings(), 2, 0) == "cluster"
    assert made == [2] * (n_failures + 1)


def test_one_that_never_starts_is_told_in_a_line_with_its_cause(monkeypatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(local, "LocalCluster", failing(9, made))
    with pytest.raises(ConfigError, match="workers die while they start: Nanny failed to start"):
        local.start_cpu(BatchSettings(), 2, 0)
    assert len(made) == 3
