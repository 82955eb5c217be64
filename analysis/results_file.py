"""AnalysisResults.root: a folder per task, its histograms in it, as O2 writes them; written and read with uproot.

Knows one file. Histograms of one to three axes are ROOT's TH1 to TH3 or TProfile; what ROOT has no plain class for
(more axes, lists, numbers) is text in JSON (uhi's schema for histograms) in a TObjString, and comes back as it was.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from o2dask.analysis.errors import UnknownColumnError, close_to
from o2dask.analysis.outputs import is_hist
from o2dask.errors import CommitError, DataError

__all__ = ["SavedResults", "read_results", "write_results"]


def write_results(path: "str | os.PathLike[str]", outputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Write outputs by task and name; the file appears whole or not at all, and replaces an older one.

    Raises
    ------
    CommitError
        If it cannot be written.
    DataError
        If outputs are of a kind that cannot be stored, naming them; all others are written.
    """
    import uproot

    final = Path(path)
    aside = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
    left_out: list[DataError] = []
    try:
        aside.touch(exist_ok=False)
        with uproot.recreate(aside) as file:
            for task, values in outputs.items():
                file.mkdir(task)
                for name, value in values.items():
                    try:
                        file[f"{task}/{name}"] = _writable(value, f"{task}/{name}")
                    except DataError as error:
                        left_out.append(error)
        aside.replace(final)
    except OSError as error:
        raise CommitError(f"{final}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)
    if left_out:
        raise DataError(f"{'; '.join(map(str, left_out))}; all else is in {final}")


class SavedResults(Mapping[str, Any]):
    """Outputs in a file: ``results["spectra/h_pt"]`` is a `hist.Hist`; read when asked for."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        import uproot

        self.path = os.fspath(path)
        try:
            with uproot.open(self.path) as file:
                self._kinds: dict[str, str] = file.classnames(cycle=False)
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such file") from None
        except Exception as error:  # noqa: BLE001 - a damaged file ends in any of uproot's exceptions
            raise DataError(f"{self.path}: truncated, or not a ROOT file ({type(error).__name__})") from None

    def __getitem__(self, name: str) -> Any:
        kind = self._kinds.get(name)
        if kind is None or kind.startswith("TDirectory"):
            known = [key for key, kind in self._kinds.items() if not kind.startswith("TDirectory")]
            raise UnknownColumnError(f"{self.path}: no output {name!r}; {close_to(name, known)}")
        import uproot

        with uproot.open(self.path) as file:
            found = file[name]
            return _value(str(found), f"{self.path}: {name}") if kind == "TObjString" else found.to_hist()

    def __iter__(self) -> Iterator[str]:
        return (name for name, kind in self._kinds.items() if not kind.startswith("TDirectory"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return "\n".join([f"{self.path}:", *(f"  {name} ({self._kinds[name]})" for name in self)])


def read_results(path: "str | os.PathLike[str]" = "AnalysisResults.root") -> SavedResults:
    """Return the outputs in an AnalysisResults.root, ours or O2's, by ``task/output``.

    Raises
    ------
    DataError
        If there is no such file or it is damaged.
    """
    return SavedResults(path)


def _writable(value: Any, where: str) -> Any:
    if is_hist(value):
        return _root_histogram(value) if len(value.axes) <= 3 else _text(_as_json(value), where)
    return _text({"value": _plain(value)}, where)


def _root_histogram(histogram: Any) -> Any:
    """Return a histogram that uproot writes: counts of integers as float64, which holds them up to 2^53."""
    import boost_histogram as bh

    if histogram.storage_type in (bh.storage.Int64, bh.storage.AtomicInt64, bh.storage.Unlimited):
        import hist

        counted = hist.Hist(*histogram.axes, storage=bh.storage.Double())
        counted.view(flow=True)[...] = np.asarray(histogram.values(flow=True), np.float64)
        return counted
    return histogram


def _as_json(histogram: Any) -> dict[str, Any]:
    from boost_histogram.serialization import to_uhi

    return {"uhi": json.loads(json.dumps(to_uhi(histogram), default=_of_json))}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, cut flows and calibrations as their fields."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value


def _of_json(value: Any) -> Any:
    if (plain := _plain(value)) is value:
        raise TypeError(f"{type(value).__name__} is nothing that JSON has")
    return plain


def _text(value: Any, where: str) -> str:
    try:
        return json.dumps(value, default=_of_json)
    except (TypeError, ValueError) as error:
        raise DataError(f"output {where}: cannot be stored: {error}; want a histogram, numbers or lists") from None


def _value(text: str, where: str) -> Any:
    try:
        content = json.loads(text)
    except ValueError:
        return text
    if not isinstance(content, dict) or not {"uhi", "value"} & content.keys():
        return text
    if "value" in content:
        return content["value"]
    import hist
    from boost_histogram.serialization import from_uhi

    schema = content["uhi"]
    storage = schema["storage"]
    for key in [key for key, entry in storage.items() if isinstance(entry, list)]:
        storage[key] = np.asarray(storage[key])
    return hist.Hist(from_uhi(schema))
