"""Whatever of a stream is killed, the driver included: the output is that of a run in peace, each timeframe once."""

from stream_flows import PATTERNS, FillingSink, flow
from stream_killer import run_with_kills
from stream_tools import write_ctf

from o2dask.ctf import list_timeframes
from o2dask.runners.inline import run_inline
from o2dask.runners.testing import contents

N, N_KILLS = 200, 8


def test_kills_of_all_its_processes_lose_nothing_and_double_nothing(tmp_path) -> None:
    ctf = write_ctf(tmp_path / "tf.ctf", N)
    inline = FillingSink(str(tmp_path / "inline"), PATTERNS)
    assert run_inline(flow(), list_timeframes([ctf]), inline).ok
    kills = run_with_kills(ctf, tmp_path / "run", N_KILLS, rate=5.0, seed=4, pause_s=0.3, driver_share=0.2, hurry=True)
    assert sum(kills.values()) == N_KILLS and len(kills) >= 4, kills
    got = contents(tmp_path / "run/out")
    assert got == contents(tmp_path / "inline"), kills
    order = [int(word) for word in (tmp_path / "run/order.txt").read_text().split()]
    assert order == list(range(N)), "the ordered processor counts each timeframe once, in order"
    assert not list((tmp_path / "run/shm").iterdir()), "no bulk is left"
