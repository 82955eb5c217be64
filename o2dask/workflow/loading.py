"""Where workflows come from: registered names, ``module:function``, ``file.py:function``.

Nothing in o2dask imports reco: what it adds is found here by entry point.
"""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from o2dask.errors import ConfigError, O2DaskError
from o2dask.options import ConfigContext, settle
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.workflow.names import algorithm_path, did_you_mean, listed

__all__ = ["GROUP", "find_workflow", "list_workflows", "load_workflow", "locate", "portable_path"]

GROUP = "o2dask.workflows"
"""Entry point group: a name and a function without arguments that returns a WorkflowSpec."""

_FILE_PREFIX = "o2dask_file_"


def list_workflows() -> dict[str, str]:
    """Return the registered workflows: name to ``module:function``, sorted; nothing is imported."""
    return {e.name: e.value for e in sorted(entry_points(group=GROUP))}


def load_workflow(name: str, options: Mapping[str, Any] | None = None) -> WorkflowSpec:
    """Return the workflow called `name`.

    Parameters
    ----------
    name : str
        A registered name (``async``), ``package.module:function``, or ``path/to/file.py:function``. The function takes
        nothing, or a `ConfigContext`; it returns a WorkflowSpec or a list of processors (or it is one of these). A
        file's code travels to workers by value.
    options : mapping of str to value, optional
        Those of the workflow itself, declared with `customize`.

    Raises
    ------
    ConfigError
        If there is none; lists what there is.
    """
    found, path = find_workflow(name)
    chosen = settle(f"workflow {name!r}", getattr(found, "options", ()), options or {})
    made = found if isinstance(found, (WorkflowSpec, list, tuple)) else _call(found, name, ConfigContext(chosen))
    if isinstance(made, (list, tuple)) and made and all(isinstance(p, DataProcessorSpec) for p in made):
        made = WorkflowSpec(_title(path), tuple(made))
    if not isinstance(made, WorkflowSpec):
        raise ConfigError(
            f"workflow {name!r}: {path} gives {type(made).__name__}, want a WorkflowSpec or a list of processors"
        )
    return made


def find_workflow(name: str) -> tuple[Any, str]:
    """Return the function (or the value) called `name`, not yet called, and its full path.

    What it takes from the command line is declared in its attribute ``options``; see `customize`.
    """
    known = list_workflows()
    path = known.get(name, name)
    if ":" not in path:
        hint = did_you_mean(name, known)
        raise ConfigError(
            f"unknown workflow {name!r}{hint}; registered are {listed(known)}; "
            "others are given as module:function or file.py:function"
        )
    return locate(path, f"workflow {name!r}"), path


def locate(path: str, what: str) -> Any:
    """Return the object written as ``module:qualname`` or ``file.py:qualname``.

    Raises
    ------
    ConfigError
        If module, file or name does not exist, saying which; `what` is what it was wanted for.
    """
    place, _, qualname = path.rpartition(":")
    if not place or not qualname:
        raise ConfigError(f"{what}: want module:function or file.py:function, got {path!r}")
    module = _import_file(Path(place), what) if place.endswith(".py") else _import_module(place, what)
    found: Any = module
    for part in qualname.split("."):
        if not hasattr(found, part):
            names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            names = [n for n in names if getattr(module, n).__module__ == module.__name__] or names
            hint = did_you_mean(part, names) or f"; it has {listed(names)}"
            raise ConfigError(f"{what}: {place} has no {qualname!r}{hint}")
        found = getattr(found, part)
    return found


def portable_path(algorithm: Callable[..., Any]) -> str:
    """Return the name under which `locate` finds an algorithm again: that of its file if it came from a file.

    Raises
    ------
    ConfigError
        If it has no such name: a lambda, a function within a function, a `functools.partial`, an instance.
    """
    if any(part.startswith("<") for part in getattr(algorithm, "__qualname__", "<instance>").split(".")):
        raise ConfigError(
            f"{algorithm!r} has no name by which another process finds it; use a function or a class of a module, and "
            "options or metadata for what differs"
        )
    module, _, qualname = algorithm_path(algorithm).partition(":")
    if module.startswith(_FILE_PREFIX) and module in sys.modules:
        module = str(sys.modules[module].__file__)
    return f"{module}:{qualname}"


def _title(path: str) -> str:
    """Return what to call a list of processors: by its file or module."""
    place = path.rpartition(":")[0]
    return Path(place).stem if place.endswith(".py") else place.rpartition(".")[2]


def _call(function: Any, name: str, context: ConfigContext) -> Any:
    if not callable(function):
        raise ConfigError(
            f"workflow {name!r}: gives {type(function).__name__}, want a WorkflowSpec, a list of processors, or a "
            "function that returns one of these"
        )
    wanted = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    wanted = [p for p in wanted if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(wanted) > 1:
        raise ConfigError(
            f"workflow {name!r}: want a function without arguments, or of a ConfigContext, got one of {len(wanted)}"
        )
    try:
        return function(context) if wanted or hasattr(function, "options") else function()
    except O2DaskError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        raise ConfigError(f"workflow {name!r}: fails at {where}: {type(error).__name__}: {error}") from error


def _import_module(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"{what}: module {name!r} needs {error.name!r}, which is not installed") from error
        raise ConfigError(f"{what}: no module {name!r}; is its package installed, its folder in PYTHONPATH?") from None


def _import_file(path: Path, what: str) -> ModuleType:
    """Import a file under a name of its own and have its functions pickled by value: workers do not have the file."""
    import cloudpickle

    if not path.is_file():
        raise ConfigError(f"{what}: no file {str(path)!r}; give the path of a Python file, then :function")
    name = _FILE_PREFIX + path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{what}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    cloudpickle.register_pickle_by_value(module)
    return module
