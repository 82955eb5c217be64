"""Histograms of a task under one name, made when its settings are known: O2's HistogramRegistry.

Knows axes and settings; knows no table and no run.
"""

from collections.abc import Mapping
from typing import Any

from o2dask.analysis.configuration import Configurable, OfGroup
from o2dask.analysis.errors import UnknownColumnError, close_to
from o2dask.errors import SpecError

__all__ = ["HistogramRegistry"]


class HistogramRegistry(dict[str, Any]):
    """Histograms by name, whose axes may be configurable.

    ::

        pt_axis = o2.ConfigurableAxis([100, 0, 10], "pT [GeV/c]")
        registry = o2.HistogramRegistry(pt=[pt_axis], pt_eta=[pt_axis, hist.axis.Regular(20, -1, 1, label="eta")])
        ...
        self.registry.fill("pt", tracks.pt())

    They are ``registry/pt`` in the result and in AnalysisResults.root.

    Parameters
    ----------
    histograms : mapping of str to sequence of axes, optional
        For names that are no Python names, ``{"tracks/pt": [...]}``.
    storage : str
        Of hist: "Double", "Weight", "Int64", "Mean" ...
    **more : sequence of axes
        Axes of hist, or `ConfigurableAxis` of the same task or of a group in it.
    """

    def __init__(self, histograms: Mapping[str, Any] | None = None, /, *, storage: str = "Double", **more: Any) -> None:
        super().__init__()
        self.storage, self.axes = storage, {**(histograms or {}), **more}
        for name, axes in self.axes.items():
            if not isinstance(axes, (list, tuple)) or not axes:
                raise SpecError(f"histogram {name!r}: want a list of axes, got {axes!r}")

    def of_task(self, task: object) -> "HistogramRegistry":
        """Return empty histograms for a task with its settings."""
        made = HistogramRegistry(self.axes, storage=self.storage)
        for name, axes in self.axes.items():
            made.add(name, *(_axis(axis, task, name) for axis in axes))
        return made

    def add(self, name: str, *axes: Any, storage: str = "") -> None:
        """Add a histogram, in a task's `init`."""
        import hist

        if name in self:
            raise SpecError(f"histogram {name!r}: is there already")
        self[name] = hist.Hist(*axes, storage=getattr(hist.storage, storage or self.storage)())

    def fill(self, name: str, *values: Any, **options: Any) -> None:
        """Fill a histogram, as `hist.Hist.fill` does."""
        self[name].fill(*values, **options)

    def __missing__(self, name: str) -> Any:
        raise UnknownColumnError(f"no histogram {name!r}; {close_to(name, self)}")


def _axis(axis: Any, task: object, name: str) -> Any:
    """Return an axis of hist; that of the task for a configurable one."""
    made = axis.of(task) if isinstance(axis, OfGroup) else axis
    if isinstance(axis, Configurable):
        made = axis.__get__(task, type(task))
    if not hasattr(made, "edges") and not hasattr(made, "traits"):
        raise SpecError(f"histogram {name!r}: want axes of hist or ConfigurableAxis, got {axis!r}")
    return made
