"""People of a simulated world who search with any system: what they look at and do on pages that they are shown.

A world keeps in `truth/` what its own sessions drew from: latent vectors, attractiveness, popularity, first moments.
Sessions are drawn from it as the world's own were, and act by the same law (`omnifeat.simulator.acts`). Their numbers
are **common random numbers**: which places a session looks at depends on the session alone, and what it does with an
entity that it looks at on the session and the entity, never on who ranked the page. Two systems are so compared on the
same people in the same mood.

Shape suffixes: B sessions, P places of a page, A actions, D latent width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnifeat.data.schema import ACTIONS, ENTITY_TYPES
from omnifeat.errors import DataError, SettingError
from omnifeat.simulator import rates
from omnifeat.simulator.acts import LAW, act_shares, action_shares, liking_factors, look_shares, react, wanted_shares
from omnifeat.simulator.judgments import true_grades
from omnifeat.simulator.lexicon import LANGUAGES
from omnifeat.simulator.sessions import draw_people, draw_times, languages
from omnifeat.simulator.truth import TRUTH_FOLDER, read_truth_notes

__all__ = ["ABSENT", "Behaviour", "Sessions"]

IntArray = npt.NDArray[np.int64]
KindArray = npt.NDArray[np.int8]

ABSENT = -1  # of an empty place, and of a place at which nothing is done
_SHOWN_TYPES = ENTITY_TYPES[:2]  # pins and products; a page of results shows no queries
_RATES = (
    "POSITION_EXPONENT", "WANTED_SLOPE", "WANTED_MIDDLE", "CHANCE", "LEAST_ATTRACTIVE", "OTHER_LANGUAGE_PIN",
    "OTHER_LANGUAGE_PRODUCT", "PIN_CLICK_ONLY", "PRODUCT_CLICK_ONLY", "PIN_CLICK_ONLY_UNWANTED",
    "PRODUCT_CLICK_ONLY_UNWANTED", "PIN_SAVE", "PRODUCT_SAVE", "PRODUCT_CART", "PRODUCT_CHECKOUT", "ABROAD", "DAYS",
    "TEST_FROM_DAY", "GRADE_COSINES", "LATENT_WIDTH", "COUNTRIES", "COUNTRY_SHARES",
)  # fmt: skip
_BLOCK = 20_000  # sessions whose pages are looked up at once


@dataclass(frozen=True)
class Sessions:
    """B searches: who searches for what and when.

    Attributes
    ----------
    number : int64 (B,)
        Of the session; its random numbers come from it.
    query : int64 (B,)
        Rows of `Behaviour.queries`.
    country : int8 (B,)
        Places in the world's countries.
    user : int32 (B,)
        Numbers of users.
    seconds : int64 (B,)
        Since the world's first day.
    """

    number: IntArray
    query: IntArray
    country: KindArray
    user: npt.NDArray[np.int32]
    seconds: IntArray

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: IntArray | slice) -> "Sessions":
        """These sessions."""
        return Sessions(self.number[rows], self.query[rows], self.country[rows], self.user[rows], self.seconds[rows])


@dataclass(frozen=True)
class _Side:
    """Pins or products as those who look at them see them; N rows in the order of the truth."""

    ids: pa.Array
    latent: npt.NDArray[np.float32]  # (N, D)
    attractive: npt.NDArray[np.float32]
    language: npt.NDArray[np.int32]
    born: IntArray


class Behaviour:
    """The people of one world.

    Parameters
    ----------
    world
        Folder that `omnifeat simulate` wrote, with its `truth/`.
    seed
        Of the sessions and of what they do.

    Attributes
    ----------
    queries : list of str
        All queries of the world, in the order of its truth.

    Raises
    ------
    DataError
        If the folder holds no truth, or one of a world made with other rates of behaviour.
    SettingError
        If the seed is negative.
    """

    def __init__(self, world: str | Path, seed: int = 0) -> None:
        if seed < 0:
            raise SettingError(f"the seed of the sessions must be 0 or more, got {seed}")
        self._world, self._seed = Path(world), seed
        notes = read_truth_notes(self._world, _RATES, "so nobody there can search")
        self._users = int(notes["scale"]["users"])
        asked = self._read("query", ["id", "popularity", "latent"])
        self.queries: list[str] = asked["id"].to_pylist()
        self._popularity = asked["popularity"].to_numpy()
        self._query_latent = _vectors(asked)
        self._query_locale = self._codes("queries", "query", asked["id"], "country", rates.COUNTRIES)
        self._sides = tuple(self._side(kind) for kind in _SHOWN_TYPES)

    @property
    def popularity(self) -> npt.NDArray[np.float64]:
        """Share of the searches that each query has, (Q,); sums to 1."""
        return self._popularity

    def draw(self, number: int, *, first_day: int = rates.TEST_FROM_DAY) -> Sessions:
        """Sessions as the world has them: queries by popularity, people of their country, moments of day and week.

        The same seed and number give the same sessions. All lie on `first_day` or later.

        Raises
        ------
        SettingError
            For no session at all, or a first day that the world does not have.
        """
        if number < 1:
            raise SettingError(f"the number of sessions must be 1 or more, got {number}")
        if not 0 <= first_day < rates.DAYS:
            raise SettingError(f"the first day of the sessions must be from 0 to {rates.DAYS - 1}, got {first_day}")
        rng = np.random.default_rng([self._seed, 0])
        cumulated = np.cumsum(self._popularity)
        points = rng.random(number) * cumulated[-1]
        query = np.minimum(np.searchsorted(cumulated, points), len(self.queries) - 1).astype(np.int64)
        country, user = draw_people(rng, self._query_locale[query], self._users)
        seconds = draw_times(rng, number, first_day)
        return Sessions(np.arange(number, dtype=np.int64), query, country, user, seconds)

    def rows(self, entity_type: str, ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> IntArray:
        """Rows (n,) of pins or products in the truth, by which pages name them.

        Raises
        ------
        DataError
            The world does not know an id.
        SettingError
            The type is neither `pin` nor `product`.
        """
        if entity_type not in _SHOWN_TYPES:
            raise SettingError(f"a page shows entities of type {' or '.join(_SHOWN_TYPES)}, not '{entity_type}'")
        known = self._sides[_SHOWN_TYPES.index(entity_type)].ids
        return _places(ids, known, f"{self._world} does not know the {entity_type}")

    def query_rows(self, queries: Sequence[str]) -> IntArray:
        """Rows (n,) of queries; raises `DataError` for one that the world does not know."""
        return _places(queries, pa.array(self.queries, pa.string()), f"{self._world} does not know the query")

    def there(self, sessions: Sessions, kind_BP: KindArray, row_BP: IntArray) -> npt.NDArray[np.bool_]:
        """Which entities (B, P) exist at the moment of the search; an empty place is none."""
        found = np.zeros(kind_BP.shape, np.bool_)
        for kind, side in enumerate(self._sides):
            of_kind = kind_BP == kind
            moments = np.broadcast_to(sessions.seconds[:, None], kind_BP.shape)[of_kind]
            found[of_kind] = side.born[row_BP[of_kind]] <= moments
        return found

    def grades(self, query_B: IntArray, kind_BP: KindArray, row_BP: IntArray) -> IntArray:
        """True grades (B, P) from 0 to 4; -1 at an empty place."""
        grades = np.full(kind_BP.shape, ABSENT, np.int64)
        for rows, kind, of_kind in self._parts(kind_BP):
            grades[rows][of_kind] = true_grades(self._cosines(query_B[rows], kind, row_BP[rows], of_kind))
        return grades

    def react(
        self,
        sessions: Sessions,
        kind_BP: KindArray,
        row_BP: IntArray,
        *,
        places: IntArray | None = None,
        mood: int = 0,
    ) -> KindArray:
        """What is done at each place of the pages, int8 (B, P): places in ACTIONS, -1 for nothing.

        Parameters
        ----------
        sessions
            B searches.
        kind_BP, row_BP
            The pages: places in ENTITY_TYPES (-1 for an empty place), and rows of the truth.
        places : int64 (P,) or None
            Where on the page each column stands, the first place being 0; None for the columns' own order.
        mood
            Another mood gives the same sessions other random numbers.
        """
        at = self._page_places(kind_BP, row_BP, places)
        actions = np.full(kind_BP.shape, ABSENT, np.int8)
        seed = np.random.SeedSequence([self._seed, 1, mood]).generate_state(1, np.uint64)[0]
        for start in range(0, len(sessions), _BLOCK):
            rows = slice(start, start + _BLOCK)
            wanted, factor = self._wishes(sessions.query[rows], kind_BP[rows], row_BP[rows])
            react(seed, sessions.number[rows], kind_BP[rows], row_BP[rows], wanted, factor, at, LAW, actions[rows])
        return actions

    def chances(
        self, sessions: Sessions, kind_BP: KindArray, row_BP: IntArray, *, places: IntArray | None = None
    ) -> npt.NDArray[np.float64]:
        """Probability (B, P, A) of each of ACTIONS at each place: what `react` draws from; zero at an empty place."""
        at = self._page_places(kind_BP, row_BP, places)
        chances = np.zeros((*kind_BP.shape, len(ACTIONS)))
        wanted, factor = self._wishes(sessions.query, kind_BP, row_BP)
        done = look_shares(at) * act_shares(wanted, factor)
        for kind in range(len(self._sides)):
            of_kind = kind_BP == kind
            chances[of_kind] = done[of_kind][:, None] * action_shares(kind, wanted[of_kind])
        return chances

    def _page_places(self, kind_BP: KindArray, row_BP: IntArray, places: IntArray | None) -> IntArray:
        if kind_BP.shape != row_BP.shape:
            raise SettingError(f"kinds and rows of a page must have one shape, got {kind_BP.shape} and {row_BP.shape}")
        return np.arange(kind_BP.shape[1], dtype=np.int64) if places is None else np.asarray(places, np.int64)

    def _wishes(
        self, query_B: IntArray, kind_BP: KindArray, row_BP: IntArray
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """How far each entity is wanted, and the entity's own factor, float32 (B, P) as `Surface` has them."""
        wanted = np.zeros(kind_BP.shape, np.float32)
        factor = np.zeros(kind_BP.shape, np.float32)
        asked = languages(self._query_locale)
        for rows, kind, of_kind in self._parts(kind_BP):
            side = self._sides[kind]
            entity = row_BP[rows][of_kind]
            query = np.broadcast_to(query_B[rows][:, None], of_kind.shape)[of_kind]
            wanted[rows][of_kind] = wanted_shares(self._cosines(query_B[rows], kind, row_BP[rows], of_kind))
            own = side.language[entity] == asked[query]
            factor[rows][of_kind] = liking_factors(kind, side.attractive[entity], own)
        return wanted, factor

    def _parts(self, kind_BP: KindArray) -> list[tuple[slice, int, npt.NDArray[np.bool_]]]:
        """Blocks of sessions and, for each kind, which of their places are of it."""
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(kind_BP), _BLOCK)]
        return [(rows, kind, kind_BP[rows] == kind) for rows in blocks for kind in range(len(self._sides))]

    def _cosines(
        self, query_B: IntArray, kind: int, row_BP: IntArray, of_kind: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        query = np.broadcast_to(query_B[:, None], of_kind.shape)[of_kind]
        cosines: npt.NDArray[np.float32] = np.einsum(
            "pd,pd->p", self._query_latent[query], self._sides[kind].latent[row_BP[of_kind]]
        )
        return cosines

    def _side(self, kind: str) -> _Side:
        found = self._read(kind, ["id", "attractive", "born_seconds", "latent"])
        ids = found["id"].combine_chunks()
        locales = self._codes(f"{kind}s", "id", found["id"], "language", LANGUAGES)
        attractive = found["attractive"].to_numpy()
        return _Side(ids, _vectors(found), attractive, languages(locales), found["born_seconds"].to_numpy())

    def _codes(
        self, table: str, key: str, ids: pa.ChunkedArray, column: str, known: Sequence[str]
    ) -> npt.NDArray[np.int32]:
        """Places in `known` of a column's texts, in the order of the ids."""
        path = self._world / f"{table}.parquet"
        found = _read(path, [key, column])
        at = _places(ids, found[key].combine_chunks(), f"{path} does not know")
        codes = pc.index_in(found[column], pa.array(known)).combine_chunks()
        if codes.null_count:
            said = found[column][pc.index(pc.is_null(codes), True).as_py()].as_py()
            raise DataError(f"{path} has the {column} '{said}', which no simulated world has; simulate the world anew")
        return np.asarray(codes.to_numpy(), np.int32)[at]

    def _read(self, kind: str, columns: list[str]) -> pa.Table:
        return _read(self._world / TRUTH_FOLDER / f"{kind}_latent.parquet", columns)


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"{path} cannot be read; simulate the world anew") from error


def _vectors(table: pa.Table) -> npt.NDArray[np.float32]:
    flat = table["latent"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors: npt.NDArray[np.float32] = flat.reshape(-1, rates.LATENT_WIDTH)
    return vectors


def _places(ids: Sequence[str] | pa.Array | pa.ChunkedArray, known: pa.Array, unknown: str) -> IntArray:
    asked = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    found = pc.index_in(asked, value_set=known)
    if found.null_count:
        missing = asked[pc.index(pc.is_null(found), True).as_py()].as_py()
        raise DataError(f"{unknown} '{missing}'; give the world that the dataset comes from")
    return np.asarray(found.to_numpy(), np.int64)
