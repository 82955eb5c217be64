"""The bar of a run: one line in a terminal, an element of HTML in Jupyter, nothing elsewhere.

Knows counts; knows no task and no dataframe. In Jupyter it needs no widgets: the element is drawn anew in its place.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "shown"]

Progress = Callable[[int, int, int], None]
"""Called as ``progress(n_done, n_total, n_failed)``, in units of dataframes, or of files where they are not open."""

REDRAW_S = 0.2
"""Least time between two pictures of the bar in Jupyter [s]."""


@contextmanager
def shown(progress: "bool | Progress") -> Iterator[Progress | None]:
    """Give what is to be told of the progress: what the caller gave, a bar, or None where nobody looks."""
    if not isinstance(progress, bool):
        yield progress
        return
    from rich.console import Console

    console = Console(stderr=True)
    if progress and console.is_jupyter:
        yield in_jupyter()
    elif progress and console.is_terminal:
        with _in_terminal(console) as tell:
            yield tell
    else:
        yield None


@contextmanager
def _in_terminal(console: "Console") -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("analysis"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    failed = TextColumn("{task.fields[failed]}", style="red")
    with Bar(*columns, TimeRemainingColumn(), failed, console=console) as bar:
        line = bar.add_task("analysis", total=None, failed="")

        def tell(n_done: int, n_total: int, n_failed: int) -> None:
            bar.update(line, completed=n_done, total=n_total, failed=f"{n_failed} failed" if n_failed else "")

        yield tell


def in_jupyter() -> Progress:
    """Return a bar in the output of the cell that runs."""
    jupyter: Any = import_module("IPython.display")  # which has no types
    since, drawn = time.monotonic(), 0.0
    handle = jupyter.display(jupyter.HTML(""), display_id=True)

    def tell(n_done: int, n_total: int, n_failed: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if n_done < n_total and now - drawn < REDRAW_S:
            return
        drawn = now
        handle.update(jupyter.HTML(bar_html(n_done, n_total, n_failed, now - since)))

    return tell


def bar_html(n_done: int, n_total: int, n_failed: int, elapsed_s: float) -> str:
    """Return the bar as HTML.

    >>> bar_html(3, 4, 1, 6.0)
    "<progress value='3' max='4'></progress> 3/4, 6 s, 2 s left <span style='color:#b00020'>1 failed</span>"
    """
    left = f", {elapsed_s / n_done * (n_total - n_done):.0f} s left" if 0 < n_done < n_total else ""
    failed = f" <span style='color:#b00020'>{n_failed} failed</span>" if n_failed else ""
    return f"<progress value='{n_done}' max='{n_total}'></progress> {n_done}/{n_total}, {elapsed_s:.0f} s{left}{failed}"
