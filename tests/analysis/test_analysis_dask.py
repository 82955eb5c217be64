"""Runs on Dask: the same bits as inline, on clusters of one's own and of others, whatever dies."""

import numpy as np
import pytest
from distributed import Client
from task_samples import FailsOnLong, MakesDca, Spectra

import o2dask as o2
from o2dask.analysis.running import _Sums
from o2dask.errors import ConfigError
from o2dask.runners.settings import BatchSettings
from o2dask.runners.testing import workers


@pytest.fixture(scope="module")
def cluster():
    with workers(2) as cluster:
        yield cluster.scheduler_address


def test_workers_give_the_same_bits_as_one_process_and_tell_the_same_failures(many, cluster, tmp_path):
    aod = o2.open_aod(many)
    told = []
    tasks, told_to = (Spectra(), FailsOnLong(), MakesDca()), lambda *n: told.append(n)
    inline = aod.run(*tasks, scheduler="inline", progress=told_to, save=tmp_path / "one")
    dask = aod.run(*tasks, scheduler=cluster, progress=told_to, save=tmp_path / "two")
    assert inline.n_dataframes == dask.n_dataframes == 70
    for name, value in inline["spectra"].items():
        assert dask["spectra"][name] == value
    assert inline.names == [f"DF_{1000 + i}" for i in range(70)]
    assert [(f.dataframe, f.reason) for f in dask.failed] == [(f.dataframe, f.reason) for f in inline.failed] != []
    assert inline.h_n.sum() == 70 - len(inline.failed)  # what was filled before it failed does not count
    assert told[0] == (0, 70, 0) and told[-1] == (70, 70, len(dask.failed))
    one, two = o2.open_aod(tmp_path / "one"), o2.open_aod(tmp_path / "two")
    assert one.tables == two.tables == ("O2tracksdca",)
    np.testing.assert_array_equal(one["O2tracksdca"]["fDcaXY"], two["O2tracksdca"]["fDcaXY"])


def test_the_client_of_the_process_is_used_and_classes_of_main_travel(many, cluster):
    source = "class Local(Spectra):\n    pass"
    scope = {"Spectra": Spectra, "__name__": "__main__"}
    exec(source, scope)
    with Client(cluster) as client:
        result = o2.open_aod(many)[:6].run(scope["Local"](), progress=False)
        assert client.status == "running"
    assert result.n_dataframes == 6 and result["local"].n > 0


def test_a_worker_that_dies_costs_the_dataframes_it_dies_on(many):
    class Dies(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Tracks):
            import os

            self.n += 1
            if len(tracks) == 14:
                os._exit(3)

    result = o2.open_aod(many)[:5].run(Dies(), workers=2, progress=False)
    assert result.n == 4
    assert [f.dataframe for f in result.failed] == ["DF_1002"]
    assert "KilledWorker" in result.failed[0].reason


def test_no_scheduler_is_an_error_that_says_so(many, monkeypatch):
    monkeypatch.setitem(BatchSettings.__init__.__kwdefaults__, "connect_timeout_s", 0.3)
    with pytest.raises(ConfigError, match=r"no scheduler at tcp://127\.0\.0\.1:9"):
        o2.open_aod(many).run(Spectra(), scheduler="tcp://127.0.0.1:9", progress=False)
    with pytest.raises(ConfigError, match="not with scheduler='inline'"):
        o2.open_aod(many).run(Spectra(), scheduler="inline", workers=2)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 17, 64, 65])
def test_sums_do_not_depend_on_the_order_in_which_parts_come(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=n) * 10.0 ** rng.integers(-8, 8, n)

    def total(order):
        sums = _Sums(n, lambda parts: sum(parts[1:], start=parts[0]))
        for i in order:
            sums.put(int(i), float(values[i]))
        return sums.rest()

    assert len(total(range(n))) == 1
    assert total(rng.permutation(n)) == total(range(n))
    assert total(range(n))[0] == pytest.approx(values.sum())
