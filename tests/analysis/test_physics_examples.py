"""The examples of the physics helpers run on made-up collisions and find what was put in."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ON_AOD = (
    *(
        "dca_distribution",
        "derived_data",
        "grouping",
        "pid_nsigma",
        "ready_train",
        "spectra_by_centrality",
        "three_particle_mass",
    ),
    *("two_particle_correlation", "v0_mass"),
)


def output_of(name, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def number_after(text, words):
    return float(re.search(re.escape(words) + r"\s*(-?[0-9.]+)", text)[1])


@pytest.mark.parametrize("name", [*ON_AOD, "v2_event_plane", "ud_tracks", "pid_tof"])
def test_examples_are_short_and_state_their_expectation(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) < 60
    assert "expected" in text and "Usage:" in text


def test_v0s_stand_at_their_masses(physics_aod, monkeypatch, capsys):
    text = output_of("v0_mass", monkeypatch, capsys, physics_aod)
    for name, mass in (("k0s", 0.497611), ("lambda", 1.115683)):
        n, error = map(int, re.search(rf"{name}: (\d+) \+- (\d+) above", text).groups())
        assert n > 4 * error
        assert abs(number_after(text[text.index(name) :], "mean mass") - mass) < 0.002


def test_the_dca_is_centred(physics_aod, monkeypatch, capsys):
    text = output_of("dca_distribution", monkeypatch, capsys, physics_aod)
    assert abs(number_after(text, "median of all")) < 5 * number_after(text, "+-")
    rows = [list(map(float, re.findall(r"-?\d+\.\d+", line)[-4:])) for line in text.splitlines()[1:-1]]
    assert len(rows) >= 4
    for _, width, of_fit, _ in rows:
        assert 0.8 < width / of_fit < 1.4  # the sample is smeared by the errors it states; decays widen it


def test_sigmas_are_sigmas(physics_aod, monkeypatch, capsys):
    text = output_of("pid_nsigma", monkeypatch, capsys, physics_aod)
    for name in ("Pi", "Pr"):
        _, mean, width, _ = re.search(rf"^{name} +(\d+) +(\S+) +(\S+) +(\S+)%", text, re.M).groups()
        assert abs(float(mean)) < 0.2 and abs(float(width) - 1) < 0.15


def test_uncorrelated_particles_have_no_correlation(physics_aod, monkeypatch, capsys):
    text = output_of("two_particle_correlation", monkeypatch, capsys, physics_aod)
    assert abs(number_after(text, "mean correlation") - 1) < 0.03
    values = [tuple(map(float, m)) for m in re.findall(r"C = (\S+) \+- (\S+)", text)]
    assert len(values) == 12
    assert sum(((value - 1) / error) ** 2 for value, error in values) < 12 + 5 * np.sqrt(24)


def test_triples_are_as_many_as_there_are_and_uncorrelated(physics_aod, monkeypatch, capsys):
    text = output_of("three_particle_mass", monkeypatch, capsys, physics_aod)
    assert number_after(text, "expected n(n-1)(n-2)/6 of each collision:") == int(text.split()[0]) > 1000
    assert abs(number_after(text, "mean mass of one event over mixed") - 1) < 0.03


def test_three_ways_to_group_tracks_agree(physics_aod, monkeypatch, capsys):
    text = output_of("grouping", monkeypatch, capsys, physics_aod)
    by_grouping, by_slicing, by_lists = (number_after(text, w) for w in ("", "grouping,", "slicing,"))
    assert by_grouping == by_slicing == by_lists > 1000
    net, error = map(int, re.search(r"net charge (-?\d+) \+- (\d+)", text).groups())
    assert abs(net) < 5 * error and "in 120 collisions" in text


def test_a_train_of_ready_tasks_selects_what_points_to_the_vertex(physics_aod, monkeypatch, capsys):
    text = output_of("ready_train", monkeypatch, capsys, physics_aod)
    assert 0 < number_after(text, "cm, selected") <= number_after(text, "median |dcaXY|")
    n_pions = int(re.search(r"(\d+) tracks within 3 sigma", text)[1])
    n_selected = int(re.search(r"DCA z +\S+ +(\S+)", text)[1].replace(",", ""))
    assert 0.6 * n_selected < n_pions < n_selected


def test_derived_data_are_those_of_their_parent(physics_aod, monkeypatch, capsys):
    text = output_of("derived_data", monkeypatch, capsys, physics_aod)
    n, n_long, small, large = map(int, re.search(r"(\d+) leading tracks, (\d+) with .*; (\d+) of (\d+)", text).groups())
    assert n >= n_long > 0.5 * n > 40 and small < large
    assert float(re.search(r"parent's by (\S+),", text)[1]) < 1e-6


def test_time_of_flight_gives_sigmas_and_masses(monkeypatch, capsys):
    text = output_of("pid_tof", monkeypatch, capsys)
    for name, want in (("Pi", 0.140), ("Ka", 0.494), ("Pr", 0.938)):
        n, mean, width, _, mass, _ = re.search(rf"^{name} +(.*)$", text, re.M)[1].replace("%", "").split()
        assert abs(float(mean)) < 5 / np.sqrt(int(n)) and abs(float(width) - 1) < 5 / np.sqrt(2 * int(n)) + 0.005
        assert abs(float(mass) - want) < 0.01


def test_spectra_come_by_centrality(physics_aod, monkeypatch, capsys):
    text = output_of("spectra_by_centrality", monkeypatch, capsys, physics_aod)
    events = [float(line.split()[4]) for line in text.splitlines() if re.match(r" *\d+ - ", line)]
    assert len(events) == 3
    assert np.abs(np.array(events) - [24, 36, 60]).max() <= 8  # of 120 events, those of equal multiplicity together
    assert "dN/deta falls with centrality: yes" in text


def test_flow_comes_back(monkeypatch, capsys):
    text = output_of("v2_event_plane", monkeypatch, capsys)
    for method in ("event plane", "scalar product"):
        value, error = map(float, re.search(rf"v2 from the {method} +(\S+) \+- ([0-9.]+),", text).groups())
        assert abs(value - 0.08) < 5 * error


def test_rho_stand_at_their_mass(monkeypatch, capsys):
    text = output_of("ud_tracks", monkeypatch, capsys)
    assert number_after(text, "dataframes,") > 200
    assert abs(number_after(text, "mean mass there") - 0.775) < 0.02


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # no pair in the made file
def test_derived_data_that_were_not_made_here_are_read_by_the_example(ud_file, monkeypatch, capsys):
    text = output_of("ud_tracks", monkeypatch, capsys, ud_file)
    assert 0 <= number_after(text, "dataframes,") <= int(text.split()[0])
    if "shared" in str(ud_file):
        assert "76 pairs in 43 dataframes, 41 within" in text


def test_examples_take_the_aod_from_the_environment(physics_aod, monkeypatch, capsys):
    monkeypatch.setenv("O2DASK_AOD", str(physics_aod))
    assert "expected 0" in output_of("dca_distribution", monkeypatch, capsys)
