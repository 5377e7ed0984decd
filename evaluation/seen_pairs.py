"""Which evaluated pairs are no news to what is measured: by what an encoder was trained on, or by the log.

What an **encoder** was trained on it records itself (`omnifeat.models.training_record`), and `featurize` writes it
beside each pair. New pairs are those that no encoder in question was trained on; pairs of new queries, those that none
was trained on with any entity, are among them. That is what figures for new pairs and new queries mean everywhere, and
it holds for whatever data the encoder meets.

`seen_in_training` asks the **log** of a dataset: engagements repeat, people save tomorrow what others saved today, so
that a pair of the test part may stand in the training part. It holds for systems without an encoder, too, and knows
of pairs that caps kept from the encoder.

Shape legend: n rows, P pairs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.recall import EvaluationPairs
from evaluation.training_positives import are_among, logged_positives
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError
from omnifeat.feature_columns import KNOWLEDGE, TRAINED_ON, is_trained_on
from omnifeat.keys import as_strings
from omnifeat.models.training_record import PAIR_KNOWN, QUERY_KNOWN, UNKNOWN, TrainingRecord

__all__ = [
    "NEW_PAIRS",
    "NEW_QUERIES",
    "SEEN_PAIRS",
    "Knowledge",
    "known_by_columns",
    "known_to_encoders",
    "seen_in_training",
    "what_columns_tell",
    "what_is_known",
]

NEW_PAIRS, NEW_QUERIES, SEEN_PAIRS = "new pairs", "new queries", "pairs seen in training"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What encoders were trained on of n rows.

    Attributes
    ----------
    codes
        uint8 (n,): `UNKNOWN`, `QUERY_KNOWN` or `PAIR_KNOWN`, the most that any of the encoders knew.
    told_by
        What tells it: columns, or names of encoders.
    silent
        Encoders that record nothing: what they knew counts for nothing here, and must be said.
    """

    codes: npt.NDArray[np.uint8]
    told_by: tuple[str, ...]
    silent: tuple[str, ...] = ()

    @property
    def new(self) -> dict[str, Bools]:
        """Members bool (n,) of the new pairs, and of those among them whose query is new as well."""
        return {NEW_PAIRS: self.codes != PAIR_KNOWN, NEW_QUERIES: self.codes == UNKNOWN}

    @property
    def counts(self) -> dict[str, int]:
        """Rows by what was known of them: `pair`, `query` alone, or `neither`."""
        return {KNOWLEDGE[code]: int((self.codes == code).sum()) for code in KNOWLEDGE}

    def of(self, rows: Bools) -> "Knowledge":
        """Of some of the rows."""
        return Knowledge(self.codes[rows], self.told_by, self.silent)

    @property
    def sentence(self) -> str:
        """The counts in words."""
        pair, query, neither = (self.counts[KNOWLEDGE[code]] for code in (PAIR_KNOWN, QUERY_KNOWN, UNKNOWN))
        said = (
            f"Of {len(self.codes):,} pairs the encoder was trained on {pair:,}, and on the queries of {query:,} more; "
            f"{neither:,} are of queries new to it (by {', '.join(self.told_by)})."
        )
        if self.silent:
            said += f" What {', '.join(self.silent)} was trained on is not recorded."
        return said


def known_to_encoders(
    records: Mapping[str, TrainingRecord | None],
    queries: pa.Array | pa.ChunkedArray,
    types: pa.Array | pa.ChunkedArray | None,
    ids: pa.Array | pa.ChunkedArray,
) -> Knowledge | None:
    """What encoders, by name, were trained on of n pairs; None where none of them has it recorded.

    Parameters are those of `TrainingRecord.knows`.
    """
    told = {name: record for name, record in records.items() if record is not None}
    if not told:
        return None
    codes = np.max([record.knows(queries, types, ids) for record in told.values()], axis=0)
    return Knowledge(codes, tuple(told), tuple(name for name in records if name not in told))


def known_by_columns(rows: pa.Table, features: Iterable[str] = ()) -> Knowledge | None:
    """What the columns `trained_on` of a table say, those with a prefix too; None where it has none.

    Parameters
    ----------
    features
        Columns that are used as features: an encoder of a `cosine` among them, without a `trained_on` of the same
        prefix, is silent.

    Raises
    ------
    DataError
        A row says something else than `omnifeat featurize` writes, or nothing.
    """
    names = tuple(name for name in rows.column_names if is_trained_on(name))
    codes = np.full(rows.num_rows, UNKNOWN, np.uint8)
    words = pa.array([KNOWLEDGE[code] for code in range(len(KNOWLEDGE))], pa.large_string())
    for name in names:
        texts = as_strings(rows[name], f"Column '{name}'")
        found = pc.fill_null(pc.index_in(texts, words), -1).to_numpy(zero_copy_only=False)
        if (found < 0).any():
            row = int(np.flatnonzero(found < 0)[0])
            raise DataError(
                f"Column '{name}' says {texts[row].as_py()!r} in row {row + 1}, where 'pair', 'query' or 'neither' "
                "is needed; featurize the pairs again, or drop the column."
            )
        codes = np.maximum(codes, found.astype(np.uint8))
    silent = tuple(
        f"the encoder of '{name}'"
        for name in dict.fromkeys(features)
        if name.endswith("cosine") and name.removesuffix("cosine") + TRAINED_ON not in names
    )
    return Knowledge(codes, names, silent) if names else None


def what_is_known(knowledge: Knowledge | None, encoder: str | None = None) -> str:
    """A sentence on what is known; where that is nothing, that nobody can tell, and what to do.

    `encoder` is the name of the one that has no record, where there is one alone.
    """
    if knowledge is not None:
        return knowledge.sentence
    missing = "" if encoder is None else f" {encoder} has none: train it again to have its pairs recorded."
    return (
        "Which pairs the encoder was trained on is unknown, so that nothing is said of new pairs: only an encoder with "
        f"a training record tells, and `omnifeat featurize` with it writes the column trained_on.{missing}"
    )


def what_columns_tell(knowledge: Knowledge | None, metadata: Mapping[bytes, bytes] | None) -> str:
    """A sentence on what a table's columns tell; where that is nothing, which encoder made it, if the table says that.

    Parameters
    ----------
    metadata
        Of the table's schema, which carries the fingerprint of the encoder behind the features.
    """
    if knowledge is not None:
        return knowledge.sentence
    stored = (metadata or {}).get(b"omnifeat.fingerprint")
    if stored is None:
        why = "no column trained_on tells it, and nothing names an encoder, if one made the scores at all"
    else:
        why = (
            f"the encoder {stored.decode('utf-8', 'replace')} made the features, but its training record or the column "
            "trained_on is missing"
        )
    return (
        f"Which pairs the encoder was trained on is unknown, so that nothing is said of new pairs: {why}; `omnifeat "
        "featurize` with an encoder that has a training record writes the column."
    )


def seen_in_training(dataset: Dataset, entity_type: str, pairs: EvaluationPairs) -> tuple[npt.NDArray[np.bool_], str]:
    """Whether a row of the log's training part has the pair's query and entity, bool (P,), and the table looked at.

    The table is `log` where the dataset has one (`omnifeat pairs` keeps the whole log there), else `engagements`; a row
    of any action counts. Queries meet in their normal form, and two queries are a pair whichever comes first: see
    `evaluation.training_positives`.

    Raises
    ------
    DataError
        If the dataset records no split, or the table lacks a column.
    """
    return are_among(logged_positives(dataset, entity_type, pairs), pairs), dataset.log_table()
