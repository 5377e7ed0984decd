"""Raters who judge any pairs of a simulated world, as they judged its table `judgments`.

A world keeps its latent vectors in `truth/`. From them follows the true grade of any query and entity, which three of
nine raters see with their bias, noise and slips, at the rates of the table `judgments`. These nine are a panel of their
own: those of the table came about in the middle of the simulation and are not written down. What a pair is given
depends on the panel's seed and on the pair alone, so that two systems that find it, in one study or in two, find it
judged alike.

Shape suffixes: P pairs, R raters of a pair, D latent width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from omnifeat.errors import DataError, SettingError
from omnifeat.simulator import rates
from omnifeat.simulator.judgments import draw_bias, draw_raters, give_grades, true_grades
from omnifeat.simulator.truth import TRUTH_FOLDER, read_truth_notes

__all__ = ["HIGHEST_GRADE", "RaterPanel"]

HIGHEST_GRADE = len(rates.GRADE_COSINES)

_JUDGED_TYPES = ("pin", "product")
_RATES = ("GRADE_COSINES", "RATERS", "RATERS_PER_PAIR", "RATER_NOISE", "RATER_BIAS", "RATER_SLIP")


class RaterPanel:
    """Nine raters of one world.

    Parameters
    ----------
    world
        Folder that `omnifeat simulate` wrote, with its `truth/`.
    seed
        Of the raters' biases and of what they give.

    Raises
    ------
    DataError
        If the folder holds no truth, or one of a world made with other rates of judging.
    SettingError
        If the seed is negative.
    """

    def __init__(self, world: str | Path, seed: int = 0) -> None:
        if seed < 0:
            raise SettingError(f"the seed of the raters must be 0 or more, got {seed}")
        self._truth = Path(world) / TRUTH_FOLDER
        self._world, self._seed = world, seed
        read_truth_notes(world, _RATES, "so no rater can judge its pairs")
        self._bias = draw_bias(np.random.default_rng([seed, 0]))

    def judge(self, queries: Sequence[str], entity_ids: Sequence[str], entity_type: str) -> pa.Table:
        """Judgments of pairs, three rows a pair, in the order of the pairs; a pair that repeats is judged once.

        Returns
        -------
        pa.Table
            `query`, `entity_id`, `entity_type`, `grade` (float64, 0 to 4), `rater`.

        Raises
        ------
        DataError
            If the world does not know a query or an entity.
        SettingError
            If the entity type is neither `pin` nor `product`.
        """
        pairs = list(dict.fromkeys(zip(queries, entity_ids, strict=True)))
        grade = self.true_grades([query for query, _ in pairs], [entity_id for _, entity_id in pairs], entity_type)
        raters = np.empty((len(pairs), rates.RATERS_PER_PAIR), np.int64)
        given = np.empty(raters.shape)
        for row, (query, entity_id) in enumerate(pairs):
            key = xxhash.xxh64_intdigest("\x00".join((entity_type, entity_id, query)).encode())
            rng = np.random.default_rng([self._seed, 1, key])
            raters[row] = draw_raters(rng, 1)[0]
            given[row] = give_grades(rng, grade[row : row + 1], raters[row : row + 1], self._bias)[0]
        place = np.repeat(np.arange(len(pairs)), rates.RATERS_PER_PAIR)
        return pa.table(
            {
                "query": pa.array([pairs[row][0] for row in place], pa.string()),
                "entity_id": pa.array([pairs[row][1] for row in place], pa.string()),
                "entity_type": pa.array([entity_type] * len(place), pa.string()),
                "grade": pa.array(given.reshape(-1) + 0.0),  # no minus zero
                "rater": pa.array([f"panel_{rater + 1}" for rater in raters.reshape(-1)], pa.string()),
            }
        )

    def true_grades(self, queries: Sequence[str], entity_ids: Sequence[str], entity_type: str) -> npt.NDArray[np.int64]:
        """Grades (P,) from 0 to 4 that follow from the latent vectors; errors as in `judge`."""
        if entity_type not in _JUDGED_TYPES:
            raise SettingError(f"raters judge entities of type {' or '.join(_JUDGED_TYPES)}, not '{entity_type}'")
        query_PD = self._latent("query", queries)
        entity_PD = self._latent(entity_type, entity_ids)
        return true_grades(np.einsum("pd,pd->p", query_PD, entity_PD))

    def _latent(self, kind: str, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Latent vectors float32 (P, D); of the file only the rows that are asked for are held."""
        path = self._truth / f"{kind}_latent.parquet"
        wanted = pc.unique(pa.array(ids, pa.string()))
        found = np.zeros((len(wanted), rates.LATENT_WIDTH), np.float32)
        known = np.zeros(len(wanted), np.bool_)
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["id", "latent"]):
                    place = pc.index_in(batch.column("id"), wanted)
                    rows = pc.is_valid(place)
                    into = place.filter(rows).to_numpy()
                    vectors = batch.column("latent").filter(rows).flatten().to_numpy(zero_copy_only=False)
                    found[into] = vectors.reshape(-1, rates.LATENT_WIDTH)
                    known[into] = True
        except (OSError, pa.ArrowInvalid, KeyError) as error:
            raise DataError(f"{path} cannot be read; simulate the world anew") from error
        if not known.all():
            missing = wanted[int(np.argmin(known))].as_py()
            raise DataError(
                f"{self._world} does not know the {kind} '{missing}', so nobody there can judge it; give the world "
                "that the dataset comes from"
            )
        return found[pc.index_in(pa.array(ids, pa.string()), wanted).to_numpy()]
