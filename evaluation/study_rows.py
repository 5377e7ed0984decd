"""Which rows a recall study has, and their scores made from one set of queries and entities."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.baselines import (
    EngagedTexts,
    Row,
    cosine_row,
    entity_texts,
    largest_cosine_row,
    lexical_row,
    sum_row,
)
from omnifeat.corpus_tables import CorpusTables
from omnifeat.errors import SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.retrieval.lexical import LEXICAL_SCORERS, LexicalScorer, lexical_scorer

__all__ = ["ROWS", "StudyRows"]

FloatArray = npt.NDArray[np.float32]

ROWS: dict[str, str] = {
    "random": "uniform random scores",
    "bm25-words": "BM25 on words of all text",
    "bm25-trigrams": "BM25 on character trigrams of all text",
    "tfidf": "TF-IDF cosine of character 2-4-grams of all text",
    "pretrained": "cosine of the pretrained encoder, untrained here, to the entity's text",
    "pretrained-engaged": "its largest cosine to the entity's engaged queries",
    "learned": "cosine of the trained encoder",
    "learned-engaged": "the trained encoder's largest cosine to the entity's engaged queries",
    "learned+learned-engaged": "sum of learned and learned-engaged",
    "learned+pretrained-engaged": "sum of learned and pretrained-engaged",
}
"""Name of each row that a study can have -> what it is; in the order in which they are shown."""


class StudyRows:
    """Makes the rows of a study; vectors and texts that several rows need are made once, when first asked for.

    Parameters
    ----------
    entity_type
        `pin`, `product` or `query`.
    entities
        Table of the scored entities (N rows), with `id`.
    queries
        Distinct query texts (Q).
    encoder, pretrained
        The trained encoder, and one that was not trained here; null leaves their rows out.
    pretrained_fields
        Columns of the text that the pretrained encoder sees of an entity.
    seed
        Of the random row.
    known_queries
        Encodes queries for the trained encoder, from tables where they hold them; null for the encoder itself.
    corpus_tables
        Hold the trained encoder's embeddings of the entities; null to encode them.
    """

    def __init__(
        self,
        entity_type: str,
        entities: pa.Table,
        queries: list[str],
        *,
        encoder: FrozenEncoder | None,
        pretrained: PretrainedEncoder | None,
        pretrained_fields: Sequence[str],
        seed: int,
        known_queries: KnownQueries | None = None,
        corpus_tables: CorpusTables | None = None,
    ) -> None:
        self._corpus_tables = corpus_tables
        self._known_queries = known_queries or encoder
        self._entity_type, self._entities, self._queries = entity_type, entities, queries
        self._encoder, self._pretrained = encoder, pretrained
        self._pretrained_fields, self._seed = pretrained_fields, seed
        # of the queries, and of the entities, which rows for other queries share
        self._of_queries: dict[str, FloatArray] = {}
        self._of_entities: dict[str, FloatArray] = {}
        self._scorers: dict[str, LexicalScorer] = {}
        self._texts: list[str] | None = None
        self._engaged: EngagedTexts | None = None

    def for_queries(self, queries: list[str]) -> "StudyRows":
        """The same rows for other queries; what was made of the entities, here or there, is made once."""
        other = copy(self)
        other._queries, other._of_queries = queries, {}
        return other

    def names(self, asked: Sequence[str] | None) -> list[str]:
        """Names of the rows that are asked for, or of all that the input allows, in the order of `ROWS`.

        Raises
        ------
        SettingError
            If a row is asked for that needs something that is not there.
        """
        lacking = {}
        if self._encoder is None:
            lacking["learned"] = "a trained encoder (--encoder)"
        if self._pretrained is None:
            lacking["pretrained"] = "a pretrained encoder (--pretrained)"
        if "engaged_queries" not in self._entities.column_names:
            lacking["engaged"] = f"the column engaged_queries of entities of type {self._entity_type}"
        names = []
        for name in ROWS:
            lacks = [text for need, text in lacking.items() if need in name]
            if asked is not None and name in asked and lacks:
                raise SettingError(f"row '{name}' needs {' and '.join(lacks)}; give it or leave the row out")
            if not lacks and (asked is None or name in asked):
                names.append(name)
        if not names:
            raise SettingError("there are no rows to measure; name at least one")
        return names

    def make(self, name: str, *, again: bool = False) -> Row:
        """The row of this name, ready to score; what it will be made of `again` is kept, as vectors always are."""
        if name in LEXICAL_SCORERS:
            scorer = self._scorers.get(name)
            if scorer is None:
                if self._texts is None:
                    self._texts = entity_texts(self._entities)
                scorer = lexical_scorer(name, self._seed).fit(self._texts)
            if again:
                self._scorers[name] = scorer
            return lexical_row(name, ROWS[name], scorer, self._queries)
        if "+" in name:
            return sum_row(name, ROWS[name], *(self.make(part) for part in name.split("+")))
        kind = name.removesuffix("-engaged")
        queries_QD = self._encoded(kind, "queries")
        if name.endswith("-engaged"):
            engaged = self._engaged_texts()
            return largest_cosine_row(name, ROWS[name], queries_QD, self._encoded(kind, "engaged"), engaged)
        return cosine_row(name, ROWS[name], queries_QD, self._encoded(kind, "entities"))

    def learned_queries(self) -> FloatArray:
        """The trained encoder's embeddings of the queries, float32 (Q, D)."""
        return self._encoded("learned", "queries")

    def _engaged_texts(self) -> EngagedTexts:
        if self._engaged is None:
            self._engaged = EngagedTexts.from_column(self._entities["engaged_queries"])
        return self._engaged

    def _encoded(self, kind: str, what: str) -> FloatArray:
        key, kept = f"{kind} {what}", self._of_queries if what == "queries" else self._of_entities
        if key not in kept:
            kept[key] = self._learned(what) if kind == "learned" else self._untrained(what)
        return kept[key]

    def _learned(self, what: str) -> FloatArray:
        # `names` gives a learned row only with an encoder
        assert self._encoder is not None and self._known_queries is not None  # noqa: S101, PT018
        if what == "queries":
            return self._known_queries.encode_queries(self._queries)
        if what == "engaged":
            return self._known_queries.encode_queries(self._engaged_texts().texts)
        if self._entity_type == "query":
            return self._known_queries.encode_queries(self._entities["id"].to_pylist())
        if self._corpus_tables is not None:
            return self._corpus_tables.vectors_of(self._entities["id"].combine_chunks(), self._entity_type)
        return self._encoder.encode_entities(self._entities, entity_type=self._entity_type)

    def _untrained(self, what: str) -> FloatArray:
        assert self._pretrained is not None  # noqa: S101 - as above
        if what == "queries":
            return self._pretrained.encode(self._queries)
        if what == "engaged":
            return self._pretrained.encode(self._engaged_texts().texts)
        return self._pretrained.encode(entity_texts(self._entities, self._pretrained_fields))
