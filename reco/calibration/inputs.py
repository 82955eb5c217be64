"""Conditions as inputs of processors, and what a worker makes of them once per object, not once per timeframe.

`condition_inputs("field", "drift")` declares them; `calibration(ctx, "drift")` gives the object that is valid for the
timeframe. Where a run has no store of conditions, the defaults stand in: the functions below, which inputs name.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from o2dask.errors import ConfigError
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.specs import DataRef, InputSpec, Lifetime

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = [
    "CONDITIONS",
    "Recent",
    "calibration",
    "condition_inputs",
    "default_beam",
    "default_corrections",
    "default_drift",
    "default_field",
    "default_gain",
    "identity",
    "once_per_object",
    "uniform_field",
]

T = TypeVar("T")


class ConditionKind(NamedTuple):
    """Address of a condition in a workflow, its class, and the function that gives its default content."""

    origin: str
    description: str
    kind: Any
    default: str


CONDITIONS = {
    "field": ConditionKind("GLO", "GRPMAGFIELD", MagneticField, "default_field"),
    "beam": ConditionKind("GLO", "MEANVERTEX", MeanVertex, "default_beam"),
    "drift": ConditionKind("TPC", "VDRIFTTGL", DriftVelocity, "default_drift"),
    "gain": ConditionKind("TPC", "PADGAINFULL", PadGain, "default_gain"),
    "corrections": ConditionKind("TPC", "CORRMAP", CorrectionMap, "default_corrections"),
}
"""By binding: what processors call the condition."""


def default_field() -> dict[str, Any]:
    """Return the field of the simulation: -5.00668 kG everywhere."""
    return MagneticField().to_content()


def default_beam() -> dict[str, Any]:
    """Return the beam spot of the simulation: centred, 0.1 mm wide, 6 cm long."""
    return MeanVertex().to_content()


def default_drift() -> dict[str, Any]:
    """Return the drift velocity of the simulation: 2.58 cm/us, no offset."""
    return DriftVelocity().to_content()


def default_gain() -> dict[str, Any]:
    """Return a gain of 1 for all pads."""
    return dict(PadGain().to_content())


def default_corrections() -> dict[str, Any]:
    """Return corrections of 0 everywhere."""
    return dict(CorrectionMap().to_content())


def condition_inputs(*bindings: str) -> tuple[InputSpec, ...]:
    """Return the inputs ``field``, ``beam``, ``drift``, ``gain`` or ``corrections``, with path and default."""
    return tuple(_input(binding, CONDITIONS[binding]) for binding in bindings)


def _input(binding: str, condition: ConditionKind) -> InputSpec:
    return InputSpec(
        binding=binding,
        origin=condition.origin,
        description=condition.description,
        lifetime=Lifetime.CONDITION,
        metadata={
            "path": condition.kind.path,
            "default": f"{__name__}:{condition.default}",
            "decoder": f"o2dask.reco.calibration.root:{binding}",
        },
    )


class Recent:
    """The last few things that were built, by what they were built from: timeframes of two runs may take turns."""

    def __init__(self, n: int = 4) -> None:
        self._n = n
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()  # processors of one worker may run beside each other

    def get(self, key: Hashable, build: Callable[[], T]) -> T:
        """Return what `build` made for `key`; made anew if it is not among the last."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = build()
                if len(self._kept) > self._n:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def identity(ctx: "ProcessingContext", binding: str) -> Hashable:
    """Return what tells the object that an input got from others of its path."""
    (wanted,) = (i for i in ctx.spec.inputs if i.binding == binding)
    if ctx.conditions is None:
        return wanted.metadata["default"]
    ref = DataRef(wanted.origin, wanted.description, int(wanted.subspec))
    return ctx.conditions.condition(ref, ctx.timeframe, ctx.state, path=wanted.path).header.etag


def calibration(ctx: "ProcessingContext", binding: str) -> Any:
    """Return the object of an input made by `condition_inputs`, the same one as long as the condition is the same."""
    kind = CONDITIONS[binding].kind
    if binding not in ctx.inputs:  # an algorithm called by hand
        return kind()
    return once_per_object(ctx, (binding,), kind.__name__, lambda: kind.from_content(ctx.inputs[binding]))


def uniform_field(ctx: "ProcessingContext") -> float:
    """Return the field [kG] for a simulation, which moves particles on circles; ConfigError if it is no such field."""
    field = calibration(ctx, "field")
    if not field.is_uniform:
        raise ConfigError(
            f"{field.path}: the simulation moves particles in a uniform field; put one with is_uniform true for it"
        )
    return float(field.bz_kg)


def once_per_object(ctx: "ProcessingContext", bindings: tuple[str, ...], name: str, build: Callable[[], T]) -> T:
    """Return what `build` makes of conditions, kept on the worker under `name` until one of them is another object."""
    kept = ctx.state.get(("built from conditions", name, bindings), Recent)
    return kept.get(tuple(identity(ctx, binding) for binding in bindings), build)
