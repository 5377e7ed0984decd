"""What one session shows of its candidates, what it looks at, and what it does: the law of the world's behaviour.

Numbers are drawn from hashes of a seed, the session and what is drawn, so that threads and order change nothing.

Shape suffixes: B sessions, P places of a page, A actions.
"""

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.data.schema import ACTIONS, ENTITY_TYPES
from omnifeat.simulator import rates
from omnifeat.simulator.concepts import FloatArray

__all__ = [
    "LAW",
    "act_shares",
    "action_shares",
    "liking_factors",
    "look_shares",
    "react",
    "run_sessions",
    "wanted_shares",
]

_PIN, _PRODUCT, _QUERY = range(3)
_SAVE, _LONG_CLICK, _CLICK, _CART, _CHECKOUT = (
    ACTIONS.index(name) for name in ("save", "long_click", "click", "add_to_cart", "checkout")
)

# what the compiled loops need of the rates: handed over, because its cache does not watch another file
LAW = np.array(
    [
        rates.RANKER_NOISE, rates.POSITION_EXPONENT, rates.CHANCE, rates.PIN_CLICK_ONLY, rates.PIN_SAVE,
        rates.PRODUCT_CLICK_ONLY, rates.PRODUCT_SAVE, rates.PRODUCT_CART, rates.PRODUCT_CHECKOUT,
        rates.PIN_CLICK_ONLY_UNWANTED, rates.PRODUCT_CLICK_ONLY_UNWANTED,
    ]
)  # fmt: skip


def wanted_shares(cosine: FloatArray) -> FloatArray:
    """Probability that one who looks at an entity wants it, from the cosine of latent vectors."""
    shares: FloatArray = 1 / (1 + np.exp(-rates.WANTED_SLOPE * (cosine - rates.WANTED_MIDDLE)))
    return shares


def liking_factors(
    kind: int, attractive: FloatArray, own_language: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32 | np.float64]:
    """Factor of attractiveness and language on that probability; `kind` is a place in ENTITY_TYPES."""
    foreign = (rates.OTHER_LANGUAGE_PIN, rates.OTHER_LANGUAGE_PRODUCT, 1.0)[kind]
    liking = rates.LEAST_ATTRACTIVE + (1 - rates.LEAST_ATTRACTIVE) * attractive
    return np.asarray(liking * np.where(own_language, 1.0, foreign))


def action_shares(kind: int, wanted: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probability (..., A) of each of ACTIONS, given that something is done with an entity; `_action` draws from it."""
    want = np.asarray(wanted, np.float64)
    shares = np.zeros((*want.shape, len(ACTIONS)))
    if kind == _QUERY:
        shares[..., _CLICK] = 1.0
        return shares
    least, most = ((LAW[9], LAW[3]), (LAW[10], LAW[5]))[kind]
    shares[..., _CLICK] = least + (most - least) * want
    more = 1 - shares[..., _CLICK]
    parts = {_SAVE: LAW[4]} if kind == _PIN else {_SAVE: LAW[6], _CART: LAW[7], _CHECKOUT: LAW[8]}
    for action, part in parts.items():
        shares[..., action] = more * part
    shares[..., _LONG_CLICK] = more * (1 - sum(parts.values()))
    return shares


def look_shares(places: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Probability that each place, the first being 0, is looked at."""
    return np.asarray((places + 1.0) ** -LAW[1])


def act_shares(wanted: npt.NDArray[np.floating], factor: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probability that something is done with what is looked at."""
    return np.asarray(LAW[2] + (1 - LAW[2]) * np.asarray(wanted, np.float64) * factor)


@compiled
def _uniform(state: np.uint64) -> float:
    """The splitmix64 number of a state, as a fraction strictly between 0 and 1."""
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return (np.float64(mixed >> np.uint64(11)) + 0.5) / 9007199254740992.0


@compiled
def _mixed(state: np.uint64) -> np.uint64:
    """Another state in which every bit depends on many of this one's."""
    return (state ^ (state >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


@compiled
def _looks(place: int, law: npt.NDArray[np.float64]) -> float:
    """Probability that a place, the first being 0, is looked at."""
    return (place + 1.0) ** -law[1]


@compiled
def _acts(want: float, factor: float, law: npt.NDArray[np.float64]) -> float:
    """Probability that something is done with what is looked at."""
    return law[2] + (1 - law[2]) * want * factor


@compiled
def _action(kind: int, want: float, chance: float, other_chance: float, law: npt.NDArray[np.float64]) -> int:  # noqa: PLR0911
    """What is done with what is acted on: the more it is wanted, the less often a click and no more."""
    if kind == _QUERY:
        return _CLICK
    if kind == _PIN:
        if chance < law[9] + (law[3] - law[9]) * want:
            return _CLICK
        return _SAVE if other_chance < law[4] else _LONG_CLICK
    if chance < law[10] + (law[5] - law[10]) * want:
        return _CLICK
    if other_chance < law[6]:
        return _SAVE
    if other_chance < law[6] + law[7]:
        return _CART
    if other_chance < law[6] + law[7] + law[8]:
        return _CHECKOUT
    return _LONG_CLICK


@compiled
def run_sessions(
    sessions: npt.NDArray[np.int64],
    first: int,
    seed: np.uint64,
    kind: int,
    law: npt.NDArray[np.float64],
    query: npt.NDArray[np.int64],
    seconds: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.int32],
    engine: FloatArray,
    wanted: FloatArray,
    factor: FloatArray,
    born: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int32],
    actions: npt.NDArray[np.int8],
    scores: FloatArray,
) -> None:
    """Write what these sessions of one kind show, what is done, and the engine's scores."""
    step = np.uint64(0x9E3779B97F4A7C15)
    positions = rows.shape[1]
    best = np.empty(positions, np.float64)
    best_at = np.empty(positions, np.int64)
    for session in sessions:
        # mixed twice, so that neighbouring sessions do not draw shifted copies of one sequence
        state = np.uint64(session + first) * np.uint64(0xD1342543DE82EF95) ^ seed
        state = _mixed(_mixed(state))
        asked = query[session]
        kept = 0
        for at in range(candidates.shape[1]):
            row = candidates[asked, at]
            if row < 0 or born[row] > seconds[session]:
                continue
            state += step
            score = engine[asked, at] - law[0] * np.log(-np.log(_uniform(state)))
            if kept < positions:
                kept += 1
            elif score <= best[kept - 1]:
                continue
            place = kept - 1
            while place > 0 and best[place - 1] < score:
                best[place] = best[place - 1]
                best_at[place] = best_at[place - 1]
                place -= 1
            best[place] = score
            best_at[place] = at
        for place in range(kept):
            at = best_at[place]
            rows[session, place] = candidates[asked, at]
            scores[session, place] = engine[asked, at]
            want = wanted[asked, at]
            acts = _looks(place, law) * _acts(want, factor[asked, at], law)
            state += step
            if _uniform(state) < acts:
                state += step
                chance = _uniform(state)
                state += step
                actions[session, place] = _action(kind, want, chance, _uniform(state), law)


@compiled
def react(
    seed: np.uint64,
    session_B: npt.NDArray[np.int64],
    kind_BP: npt.NDArray[np.int8],
    row_BP: npt.NDArray[np.int64],
    wanted_BP: FloatArray,
    factor_BP: FloatArray,
    place_P: npt.NDArray[np.int64],
    law: npt.NDArray[np.float64],
    actions_BP: npt.NDArray[np.int8],
) -> None:
    """Write what sessions do with pages that are given to them, at the same rates as `run_sessions`.

    Which places a session looks at is drawn from the seed, the session and the place; what it does with what it looks
    at, from the seed, the session and the entity. Two pages that show a session the same entity at places that it looks
    at get the same action for it.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    for session in range(len(session_B)):
        state = np.uint64(session_B[session]) * np.uint64(0xD1342543DE82EF95) ^ seed
        own = _mixed(_mixed(state))
        for place in range(kind_BP.shape[1]):
            kind = kind_BP[session, place]
            if kind < 0:
                continue
            looked = _mixed(own + step * np.uint64(place_P[place] + 1))
            if _uniform(looked) >= _looks(place_P[place], law):
                continue
            entity = np.uint64(row_BP[session, place]) * np.uint64(4) + np.uint64(kind)
            state = _mixed(own ^ _mixed((entity + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)))
            want = wanted_BP[session, place]
            if _uniform(state) < _acts(want, factor_BP[session, place], law):
                chance = _uniform(state + step)
                actions_BP[session, place] = _action(kind, want, chance, _uniform(state + step + step), law)


if ENTITY_TYPES != ("pin", "product", "query"):  # pragma: no cover
    raise RuntimeError("the numbers of surfaces must be the places in ENTITY_TYPES")
