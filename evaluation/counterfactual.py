"""What another ranking would have got, told from a log alone: IPS and SNIPS with position-based propensities.

Position-based model: an entity at position p is looked at with probability p ** -exponent, whatever it is, and acted on
by its own probability if it is looked at. A logged action at position p says, divided by the probability that p was
looked at, what the entity would get at a place that is always looked at; another ranking that puts the entity at
position p' gets it with the weight of looking at p' over that of looking at p.

    IPS    sum over logged rows of reward * weight, per request; weight = look(new) / look(logged)
    SNIPS  the same with clipped weights, times sum of look(new) over sum of look(logged) * clipped weight

IPS is unbiased where the propensities are right and every entity that the new ranking shows was shown. Clipped weights
vary less but lose what was clipped; SNIPS puts that back as if it were like the rest, and is IPS where nothing is
clipped. (Swaminathan and Joachims 2015; Joachims, Swaminathan and Schnabel 2017; Agarwal et al. 2019 for the estimate
of propensities from entities that the log shows at several positions.)

Shape suffix: n logged rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError

__all__ = ["LoggedRows", "estimate_exponent", "ips", "looks", "naive", "reranked", "snips"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LoggedRows:
    """n rows of a log.

    Attributes
    ----------
    request : int64 (n,)
        Which request a row was shown in, numbers from 0.
    position : int64 (n,)
        From 1.
    reward : float64 (n,)
        What was got: 1 for an action that counts, 0 for none, or its worth.

    Raises
    ------
    DataError
        If there is no row, a position is below one, or the lengths differ.
    """

    request: IntArray
    position: IntArray
    reward: FloatArray

    def __post_init__(self) -> None:
        if not len(self.request) or not len(self.request) == len(self.position) == len(self.reward):
            raise DataError(
                f"logged rows need one request, position and reward each, got {len(self.request)}, "
                f"{len(self.position)} and {len(self.reward)}"
            )
        if self.position.min() < 1:
            raise DataError(f"positions of logged rows begin at 1, got {self.position.min()}")

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return int(self.request.max()) + 1


def looks(position: npt.NDArray[np.integer], exponent: float) -> FloatArray:
    """Probability that a position, from 1, is looked at."""
    return np.asarray(position, np.float64) ** -exponent


def reranked(request: IntArray, scores: FloatArray) -> IntArray:
    """Positions (n,), from 1, by falling score within each request; equals keep their order."""
    order = np.lexsort((-scores, request))
    ordered = request[order]
    positions = np.empty(len(request), np.int64)
    positions[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered) + 1
    return positions


def naive(logged: LoggedRows, new_position: IntArray, exponent: float) -> FloatArray:
    """Per request, what one estimates who forgets that what stood high was looked at more; float64 (requests,).

    Rewards count with look(new) over the mean look of all logged rows.
    """
    return _per_request(logged, logged.reward * looks(new_position, exponent) / looks(logged.position, exponent).mean())


def ips(logged: LoggedRows, new_position: IntArray, exponent: float, clip: float = np.inf) -> FloatArray:
    """Per request, the estimated reward of the new ranking, float64 (requests,); its mean is the IPS estimate.

    Parameters
    ----------
    logged
        What was shown and got.
    new_position : int64 (n,)
        Where the new ranking puts each row, from 1.
    exponent
        Of the looks.
    clip
        Weights above it count as it, which takes variance out and puts bias in.

    Raises
    ------
    SettingError
        If the clip is not above zero.
    """
    return _per_request(logged, logged.reward * _weights(logged, new_position, exponent, clip))


def snips(
    logged: LoggedRows, new_position: IntArray, exponent: float, clip: float = np.inf
) -> tuple[FloatArray, FloatArray]:
    """Numerator and denominator per request, float64 (requests,) each; the estimate is total over total.

    Parameters and errors as in `ips`.
    """
    weights = _weights(logged, new_position, exponent, clip)
    share = looks(new_position, exponent).sum() / logged.requests
    mass = _per_request(logged, weights * looks(logged.position, exponent))
    return share * _per_request(logged, logged.reward * weights), mass


def estimate_exponent(pair: IntArray, position: IntArray, acted: npt.NDArray[np.bool_], largest: float = 3.0) -> float:
    """The exponent of the looks, from pairs that the log shows at several positions.

    Given that a pair is acted on in one of its showings, the position of that showing tells only how the positions are
    looked at: showing j has the probability looks(p_j) over the sum of looks of the pair's showings. The exponent of
    the highest conditional likelihood is found by bounded search.

    Parameters
    ----------
    pair : int64 (n,)
        Number of the query and entity of each row, from 0.
    position : int64 (n,)
        From 1.
    acted : bool (n,)
        Whether there was an action.
    largest
        The search goes from 0 to it.

    Raises
    ------
    DataError
        If no pair with an action was shown at two positions: nothing tells how positions are looked at.
    """
    from scipy.optimize import minimize_scalar

    size = int(pair.max(initial=-1)) + 1
    lowest = np.full(size, np.iinfo(np.int64).max)
    highest = np.zeros(size, np.int64)
    np.minimum.at(lowest, pair, position)
    np.maximum.at(highest, pair, position)
    actions = np.bincount(pair, weights=acted, minlength=size)
    told = (highest > lowest) & (actions > 0)
    if not told.any():
        raise DataError("no pair with an action was shown at two positions, so the log does not tell how they are seen")
    rows = told[pair]
    of, logs, hits = pair[rows], np.log(position[rows].astype(np.float64)), acted[rows]

    def loss(exponent: float) -> float:
        totals = np.bincount(of, weights=np.exp(-exponent * logs), minlength=size)
        return float(exponent * logs[hits].sum() + (actions[told] * np.log(totals[told])).sum())

    return float(minimize_scalar(loss, bounds=(0.0, largest), method="bounded", options={"xatol": 1e-6}).x)


def _weights(logged: LoggedRows, new_position: IntArray, exponent: float, clip: float) -> FloatArray:
    if not clip > 0:
        raise SettingError(f"weights are clipped at a number above 0, got {clip}")
    return np.minimum(looks(new_position, exponent) / looks(logged.position, exponent), clip)


def _per_request(logged: LoggedRows, values: FloatArray) -> FloatArray:
    return np.bincount(logged.request, weights=values, minlength=logged.requests).astype(np.float64)
