"""Covariances of track states, stored as standard deviations and correlations, as the 15-term lower triangle."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import inspect
from collections.abc import Callable

import numpy as np

from o2dask.analysis.formulas.registry import register

RHO_SCALE = np.float32(1 / 128)
"""Correlations are stored as int8 in units of 1/128."""
BARREL_STATE = ("Y", "Z", "Snp", "Tgl", "1Pt")
FORWARD_STATE = ("X", "Y", "Phi", "Tgl", "1Pt")


def variance(sigma: np.ndarray) -> np.ndarray:
    """Return sigma^2, float32."""
    return sigma * sigma


def covariance(rho: np.ndarray, sigma_a: np.ndarray, sigma_b: np.ndarray) -> np.ndarray:
    """Return rho*sigma_a*sigma_b with rho in 1/128, float32."""
    return (rho.astype(np.float32) * RHO_SCALE) * (sigma_a * sigma_b)


def _term(row: str, column: str) -> Callable[..., np.ndarray]:
    """Return the function of one term, whose parameters carry the getters of the columns it reads."""
    names = [f"sigma{row}"] if row == column else [f"rho{row}{column}", f"sigma{row}", f"sigma{column}"]
    plain = variance if row == column else covariance

    def term(*columns):
        return plain(*columns)

    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, positional) for name in names])
    term.__signature__ = signature  # type: ignore[attr-defined]
    return term


def _register_all(trees: tuple[str, ...], state: tuple[str, ...]) -> None:
    for i, row in enumerate(state):
        for column in state[: i + 1]:
            # The forward tables spell this one term XY where the rule of the others would give YX.
            first, second = ("X", "Y") if (row, column) == ("Y", "X") else (row, column)
            getter = "c1Pt21Pt2" if row == column == "1Pt" else f"c{first}{second}"
            text = (
                f"Return the variance of {row}." if row == column else f"Return the covariance of {row} and {column}."
            )
            register(trees, getter, _term(first, second), text=text)


_register_all(("O2trackcov", "O2trackcov_iu"), BARREL_STATE)
_register_all(("O2fwdtrackcov",), FORWARD_STATE)
