"""The columns that pairs get: their names and order, their cosines, and the sentences of `unscored`.

Shape legend: P pairs, Q queries, E entities, D dim, W prefix widths of the embedding, the whole one last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.cosines import Rows, engaged_cosines, pair_cosines
from omnifeat.models.training_record import PAIR_KNOWN, QUERY_KNOWN, UNKNOWN

__all__ = [
    "ENGAGED",
    "KNOWLEDGE",
    "REASONS",
    "TRAINED_ON",
    "UNSCORED",
    "EngagedQueries",
    "PairColumns",
    "column_names",
    "is_trained_on",
    "reason_column",
    "trained_on_column",
]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

ENGAGED = "engaged_queries"  # the entities' column
UNSCORED = "unscored"
TRAINED_ON = "trained_on"
# What `trained_on` says of a pair, by the codes of `omnifeat.models.training_record`.
KNOWLEDGE = {PAIR_KNOWN: "pair", QUERY_KNOWN: "query", UNKNOWN: "neither"}
# What `unscored` says of a pair without a cosine; where several hold, the first.
REASONS = (
    "query is null",
    "query is blank",
    "entity_id is null",
    "entity_id is not among the entities",
    "query vector is zero",
    "entity vector is zero",
)


def column_names(
    widths: Sequence[int],
    compatibility: Sequence[str],
    engaged: bool,
    blocks: Sequence[str] = ("learned",),
    trained: bool = True,
) -> list[str]:
    """Names of the cosine columns in their order; `compatibility` names the existing embeddings that are there.

    Blocks have columns of their own where there are several. Of an entity encoder that was not trained neither the
    whole cosine nor the learned block's is offered.
    """
    names = ["cosine", *(f"cosine_{width}" for width in widths[:-1])] if trained else []
    names += [f"cosine_{name}" for name in blocks if len(blocks) > 1 and (trained or name != "learned")]
    names += [f"cosine_{name}" for name in compatibility]
    return [*names, "max_cosine_engaged_queries", "mean_cosine_engaged_queries"] if engaged else names


def reason_column(codes_P: npt.NDArray[np.integer]) -> pa.StringArray:
    """The column `unscored`: null where the code is 0, the n-th of `REASONS` where it is n."""
    if not codes_P.any():
        return pa.nulls(len(codes_P), pa.string())
    index = pa.array(codes_P.astype(np.int32) - 1, mask=codes_P == 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(REASONS, pa.string())).dictionary_decode()


def trained_on_column(codes_P: npt.NDArray[np.uint8]) -> pa.StringArray:
    """The column `trained_on`: `pair`, `query` or `neither` of each pair, whatever else is wrong with it."""
    words = pa.array([KNOWLEDGE[code] for code in range(len(KNOWLEDGE))], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes_P.astype(np.int32)), words).dictionary_decode()


def is_trained_on(column: str) -> bool:
    """Whether a column is `trained_on`, maybe with a prefix: it tells training pairs, and is never a feature."""
    return column == TRAINED_ON or column.endswith(f"_{TRAINED_ON}")


@dataclass(frozen=True)
class EngagedQueries:
    """Entity e was engaged with the queries `rows[starts[e] : starts[e] + lengths[e]]`."""

    starts: Int64
    lengths: Int64
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """Vectors in memory, and the cosine columns of pairs of their rows.

    Attributes
    ----------
    widths
        W prefix widths of the embedding, rising, D the last.
    blocks
        Names and widths of the B blocks of the embedding, in their order, the learned one first; none where it has one.
    queries, entities
        float32 (Q, D) and (E, D), need not be of unit length.
    query_norms, entity_norms
        `omnifeat.cosines.inverse_norms` of them at the widths and blocks, (Q, W + B) and (E, W + B);
        `whole_query_norms` is the former's column of the whole width on its own, (Q,).
    compatibility
        Existing embeddings of the entities, float32 (E, D), and one over their lengths (E,), by name. They lie in the
        learned block, and are compared with the queries' learned block.
    engaged
        The entities' engaged queries; None if they are not known.
    leave_out
        int64 (Q,), a number per query text: engaged queries with the number of the pair's own query are left out.
    threads
        All cores if None.
    trained
        Whether the entity encoder was trained; see `column_names`.
    """

    widths: Sequence[int]
    queries: Float32
    query_norms: Float32
    whole_query_norms: Float32
    entities: Float32
    entity_norms: Float32
    compatibility: Mapping[str, tuple[Float32, Float32]] = field(default_factory=dict)
    engaged: EngagedQueries | None = None
    leave_out: Int64 | None = None
    threads: int | None = None
    blocks: Mapping[str, int] = field(default_factory=dict)
    trained: bool = True

    @property
    def names(self) -> list[str]:
        """Names of the columns in their order."""
        blocks = list(self.blocks) or ["learned"]
        return column_names(self.widths, list(self.compatibility), self.engaged is not None, blocks, self.trained)

    def of(self, query_rows_P: Rows, entity_rows_P: Rows) -> list[Float32]:
        """The columns, float32 (P,) each, in the order of `names`; -1 is no row, NaN no cosine.

        A pair without a cosine of the whole has no other either.
        """
        learned = pair_cosines(
            self.queries,
            self.entities,
            query_rows_P,
            entity_rows_P,
            widths=self.widths,
            blocks=list(self.blocks.values()),
            query_norms_QW=self.query_norms,
            entity_norms_EW=self.entity_norms,
            threads=self.threads,
        )
        whole = len(self.widths) - 1
        columns = [learned[:, whole], *(learned[:, place] for place in range(whole))] if self.trained else []
        first_block = whole + 1 if self.trained else whole + 2
        columns += [learned[:, place] for place in range(first_block, learned.shape[1])]
        scored_rows_P = np.where(np.isnan(learned[:, whole]), entity_rows_P.dtype.type(-1), entity_rows_P)
        width = self.blocks.get("learned", self.queries.shape[1])
        norms_Q = self.query_norms[:, whole + 1] if self.blocks else self.whole_query_norms
        for existing_ED, norms_E in self.compatibility.values():
            cosines = pair_cosines(
                self.queries[:, :width],
                existing_ED[:, :width],
                query_rows_P,
                scored_rows_P,
                query_norms_QW=norms_Q[:, None],
                entity_norms_EW=norms_E[:, None],
                threads=self.threads,
            )
            columns.append(cosines[:, 0])
        if self.engaged is not None:
            both = engaged_cosines(
                self.queries,
                self.whole_query_norms,
                query_rows_P,
                scored_rows_P,
                self.engaged.starts,
                self.engaged.lengths,
                self.engaged.rows,
                leave_out=self.leave_out,
                threads=self.threads,
            )
            columns += [both[:, 0], both[:, 1]]
        return columns
