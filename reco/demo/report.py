"""The demo's report: one self-contained HTML page of figures and pictures. Knows no reconstruction."""

from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

__all__ = ["write_report"]


def write_report(
    path: Path, figures: Mapping[str, str], pulls: Mapping[str, tuple[float, float]], plots: Mapping[str, Path]
) -> Path:
    """Write the page to `path`.

    Parameters
    ----------
    path : Path
        The HTML file; pictures are part of it, so that it can be sent to somebody.
    figures : mapping of str to str
        Name and value of each figure of the run.
    pulls : mapping
        Mean and width of the pull of each track parameter.
    plots : mapping of str to Path
        Caption and PNG file of each picture.
    """
    from jinja2 import Environment, select_autoescape

    template = files("o2dask.reco.demo").joinpath("report.html.j2").read_text()
    page = Environment(autoescape=select_autoescape(default=True, default_for_string=True)).from_string(template)
    pictures = {caption: (plot.stem, b64encode(plot.read_bytes()).decode()) for caption, plot in plots.items()}
    path.write_text(page.render(figures=figures, pulls=pulls, pictures=pictures))
    return path
