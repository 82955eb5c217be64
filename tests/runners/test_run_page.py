"""The page of a run: says what the report says, escapes what it is told, needs nothing from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path

from isolation_flows import PATTERNS
from isolation_flows import flow as isolated
from runner_flows import timeframes
from typer.testing import CliRunner

from o2dask.cli.main import app
from o2dask.monitoring.events import Metric
from o2dask.monitoring.metrics import MetricBook
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.report import Quarantined, RunReport
from o2dask.runners.timeline import History
from o2dask.web.run_page import run_page

HISTORY = History(
    width_s=0.5,
    in_flight=(1, 3, 2),
    promised=(10 << 20, 30 << 20, 20 << 20),
    measured=(-1, 700 << 20, 600 << 20),
    busy=(0.5, 1.0, 0.25),
)


class Text(HTMLParser):
    """The words of a page, and every address in it; fails on tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.links, self.open = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "action", "xlink:href") and v]
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def test_the_page_shows_the_run_over_time_and_what_was_lost(tmp_path: Path) -> None:
    refs = timeframes(6, special={2: "exit", 4: "raise"})
    report = run_inline(isolated(), refs, FolderSink(str(tmp_path / "out"), PATTERNS))
    text = Text(run_page(report, "isolated"))
    words = " ".join(text.words)
    for want in ("Run of isolated", "6 / 6", "timeframes in flight", "memory [MiB]", "workers busy [%]", "check"):
        assert want in words
    assert "2 lost (crash 1, exception 1); 1 restart" in words
    assert "its process ended with status 3" in words
    assert f"{report.counters['check.entries']:,}" in words


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_told() -> None:
    ref = timeframes(1, "<script>alert(1)</script>")[0]
    bad = Quarantined(ref=ref, reason="DataError: <b>bold</b> & so on", file="a<b.txt")
    report = RunReport(
        quarantined=(bad,) * 250, history=HISTORY, wall_s=1.4, memory_bytes=1 << 30, budget_bytes=200 << 20
    )
    page = run_page(report, "<i>")
    text = Text(page)
    assert "<script" not in page and "<b>bold" not in page and "<i>" not in page
    assert "DataError: <b>bold</b> & so on" in text.words
    assert "and 50 more" in text.words and "250 timeframes failed and were set aside" in " ".join(text.words)
    assert all(link.startswith("#") for link in text.links)
    assert not re.findall(r"url\((?!#)", page)


def test_a_run_of_no_length_has_a_page() -> None:
    assert "All timeframes are done" in run_page(RunReport(), "nothing")


def o2dask(*words: str) -> int:
    return CliRunner().invoke(app, words).exit_code


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nimport o2dask as o2\n"
        "def run(ctx): ctx.outputs.make('TST/X/0', {'x': np.zeros(3)})\n"
        "def workflow(): return [o2.DataProcessorSpec('maker', inputs='', outputs='TST/X/0', algorithm=run)]\n"
    )
    command = ["run", "mine.py:workflow", "--timeframes", "3", "--runner", "inline"]
    assert o2dask(*command, "--report", "no/such/folder/page.html") == 2
    assert o2dask(*command, "--report", "page.html", "--no-isolation") == 0
    assert "3 / 3" in (tmp_path / "page.html").read_text()


def test_metrics_and_the_graph_with_its_times_are_on_the_page() -> None:
    topology, book = isolated(), MetricBook()
    id_ = timeframes(1)[0].id
    sent = [(1.0, "A03"), (3.0, "A03"), ("<odd>", "A03"), ((5.0, 7.0), "C01"), (float("nan"), "C01")]
    for value, sector in sent:
        book(Metric(timeframe=id_, processor="check", name="tracks", value=value, tags={"sector": sector}))
    first, second = book.summaries()
    assert (first.n_sent, first.smallest, first.mean, first.largest, first.last) == (3, 1.0, 2.0, 3.0, "<odd>")
    assert (second.n_sent, second.mean, second.last, second.tags) == (2, 6.0, "nan", {"sector": "C01"})
    names = topology.names
    report = RunReport(seconds={names[0]: 3.0, names[1]: 1.0}, wall_s=4.0, history=HISTORY)
    page = run_page(report, "run", topology, book.summaries())
    words = Text(page).words
    assert "<odd>" in words and "<odd>" not in page
    assert "sector=A03" in words and "3e+03 ms · 75%" in words
    assert f'data-name="{names[0]}" style="--heat:0.750"' in page


def test_a_tag_that_differs_each_time_does_not_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr("o2dask.monitoring.metrics.MAX_LINES", 10)
    book, id_ = MetricBook(), timeframes(1)[0].id
    for i in range(25):
        book(Metric(timeframe=id_, processor="p", name="x", value=i, tags={"i": str(i)}))
    assert len(book.summaries()) == 10 and book.n_left_out == 15
