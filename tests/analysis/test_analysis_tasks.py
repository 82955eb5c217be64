"""Process functions as a physicist writes them: what they are given, on a small random AOD, inline."""

import awkward as ak
import numpy as np
from task_samples import Spectra, new_hist, run

import o2dask as o2
from o2dask.conditions import LocalStore


def test_the_histogram_is_that_of_a_loop_over_dataframes(aod):
    want = new_hist()
    for df in aod:
        want.fill(df.tracks.pt()[abs(df.tracks.eta()) < 0.5])
    result = run(aod, Spectra(eta_max=0.5))
    assert result.ok and result.n_dataframes == 3
    assert result.h_pt == want == result["spectra"].h_pt == result[Spectra]["h_pt"] == result["spectra/h_pt"]
    assert result.settings == {"spectra": {"eta_max": 0.5}}


def test_switches_turn_process_functions_on_and_off(aod):
    class Task(o2.AnalysisTask):
        n_data, n_mc = o2.Output(0), o2.Output(0)

        def process(self, tracks: o2.Tracks):
            self.n_data += len(tracks)

        @o2.ProcessSwitch("truth", default=False)
        def process_mc(self, particles: o2.McParticles):
            self.n_mc += len(particles)

    assert (run(aod, Task()).n_data, run(aod, Task()).n_mc) == (320, 0)
    assert run(aod, Task(process_mc=True)).n_mc == 640
    assert run(aod, Task(processMc="true")).n_mc == 640


def test_a_row_first_means_a_call_per_row_with_what_belongs_to_it(aod):
    class PerCollision(o2.AnalysisTask):
        found, n_tracks = o2.Output([]), o2.Output([])

        def process(self, collision: o2.Collision, tracks: o2.Tracks, bcs: o2.BCs):
            assert len(bcs) == len(collision._table._group.frame.bcs)
            assert all(track.collision() == collision for track in tracks[:3])
            self.found += [float(collision.posZ())]
            self.n_tracks += [len(tracks)]

    result = run(aod, PerCollision())
    assert result.ok
    assert result.found == np.concatenate([df.collisions.posZ() for df in aod]).astype(float).tolist()
    assert result.n_tracks == ak.flatten([ak.num(df.collisions.tracks.pt()) for df in aod], axis=None).to_list()


def test_a_task_sees_only_what_it_declares(aod):
    class Task(o2.AnalysisTask):
        def process(self, tracks: o2.Tracks):
            tracks.tpcNClsFound()

    (failure, *_) = run(aod, Task()).failed
    assert "O2trackextra_001, which is not declared; add its table to Join[...]" in failure.reason
    assert "test_analysis_tasks.py, line" in failure.reason


def test_joins_need_no_order_and_are_found_by_indices(aod):
    class Task(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Join[o2.TracksExtra, o2.Tracks, o2.McTrackLabels]):
            self.n += int(ak.count(tracks.mcParticle().pt())) + len(tracks.tpcNClsFound())

    want = sum(int((df.tracks.mcParticleId() >= 0).sum()) + len(df.tracks) for df in aod)
    assert run(aod, Task()).n == want


def test_histograms_made_in_init_and_dicts_of_them_are_outputs_and_end_sees_the_sum(aod):
    class Task(o2.AnalysisTask):
        per_sign = {"plus": new_hist(), "minus": new_hist()}  # noqa: RUF012
        mean = o2.Output(0.0)

        def init(self):
            self.h_eta = o2.Hist.new.Reg(10, -2, 2).Double()

        def process(self, tracks: o2.Tracks):
            self.h_eta.fill(tracks.eta())
            self.per_sign["plus"].fill(tracks.pt()[tracks.sign() > 0])
            self.per_sign["minus"].fill(tracks.pt()[tracks.sign() < 0])

        def end(self):
            self.mean = float(self.h_eta.sum(flow=True))

    result = run(aod, Task())
    assert result.mean == 320
    assert result["task/per_sign/plus"].sum(flow=True) + result.per_sign["minus"].sum(flow=True) == 320


class TellsWhatIsAsked:
    def get(self, path, timestamp):
        return f"{path}@{timestamp}"


def test_conditions_are_given_to_tasks_that_ask(aod, tmp_path):
    class Task(o2.AnalysisTask):
        ccdb = o2.Service("conditions")
        seen = o2.Output([])

        def process(self, collisions: o2.Collisions):
            self.seen += [self.ccdb.get("GLO/Field", 5)]

    assert run(aod, Task(), conditions=TellsWhatIsAsked()).seen == ["GLO/Field@5"] * 3
    store = LocalStore(tmp_path)
    store.put("GLO/Field", {"current": 30000}, 0, 10)

    class Reads(Task):
        def process(self, collisions: o2.Collisions):
            self.seen += [self.ccdb.get("GLO/Field", 5).content["current"]]

    assert run(aod, Reads(), conditions=tmp_path).seen == [30000] * 3
    assert "give run(..., conditions=store)" in run(aod, Task()).failed[0].reason
