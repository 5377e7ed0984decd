"""The aggregations of engaged queries, as SQL (section 3.2.3).

Two texts lead to the same rows: one from the log, one from counts per day that were made of the log's parts. Both give
(entity_type, entity_id, query, score, last_day) for each pair, and `best_first` puts those of an entity in order.

    score(entity, query) = sum over actions of weight(action) * times(entity, query, action)

Sums are of whole numbers, so that no order of adding changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from omnifeat.data.schema import ACTIONS
from omnifeat.engines import REFUSED, blank_in_sql, name_in_sql
from omnifeat.enrich.log_parts import microseconds, no_time_in_sql

__all__ = ["best_first", "counts_of_log", "extent_of_log", "pairs_of_counts", "pairs_of_log"]

_DAY_US = 86_400_000_000
_REFUSE = f"error('{REFUSED}')"


def best_first(pairs: str) -> str:
    """(entity_type, entity_id, value): the queries of each entity, best first.

    Order: score, highest first; then the last day of engagement, latest first; then the text, by its bytes.
    """
    return (
        f"SELECT entity_type, entity_id, query AS value FROM ({pairs}) "
        "ORDER BY entity_type, entity_id, score DESC, last_day DESC, query"
    )


def pairs_of_log(log: str, weights: Mapping[str, int], first: date, last: date, training: str | None) -> str:
    """Pairs with their scores, from the rows of the log of the days `first` to `last`, both counted in."""
    begin, end = microseconds(first), microseconds(last) + _DAY_US
    rows = _checked_rows(log, {action: str(weights[action]) for action in ACTIONS}, training, (begin, end))
    return (
        f"SELECT entity_type, {_not_blank('entity_id')}, {_not_blank('query')}, score, last_day FROM ("
        f"SELECT entity_type, entity_id, query, sum(value)::BIGINT AS score, make_timestamp(max(us))::DATE AS last_day "
        f"FROM ({rows}) WHERE value > 0 GROUP BY entity_type, entity_id, query)"
    )


def counts_of_log(log: str, training: str | None) -> str:
    """(entity_type, entity_id, query, action, day, times): how often each was done on each day (UTC)."""
    rows = _checked_rows(log, {action: f"'{action}'" for action in ACTIONS}, training, None)
    return (
        f"SELECT entity_type, {_not_blank('entity_id')}, {_not_blank('query')}, action, day, times FROM ("
        "SELECT entity_type, entity_id, query, value AS action, make_timestamp(us)::DATE AS day, count(*) AS times "
        f"FROM ({rows}) GROUP BY ALL)"
    )


def pairs_of_counts(counts: str, weights: Mapping[str, int], first: date, last: date) -> str:
    """Pairs with their scores, from counts of the days `first` to `last`, both counted in."""
    whens = " ".join(f"WHEN '{action}' THEN {weights[action]}" for action in ACTIONS)
    rows = (
        f"SELECT entity_type, entity_id, query, day, times * CASE action {whens} END AS value FROM {counts} "
        f"WHERE day BETWEEN DATE '{first}' AND DATE '{last}'"
    )
    return (
        "SELECT entity_type, entity_id, query, sum(value)::BIGINT AS score, max(day) AS last_day "
        f"FROM ({rows}) WHERE value > 0 GROUP BY entity_type, entity_id, query"
    )


def extent_of_log(log: str) -> str:
    """One row: how many rows the log has, its first time and its last in microseconds since 1970."""
    return f"SELECT count(*), min(us), max(us) FROM ({log})"


def _checked_rows(log: str, values: Mapping[str, str], training: str | None, span: tuple[int, int] | None) -> str:
    """Rows of pins and products with a value for their action; a row that must not be there ends the query.

    Parameters
    ----------
    values
        The SQL of each action's value.
    training
        Column whose text must stand in the table `training`; None where every row counts.
    span
        Microseconds from and until which rows count; None for all times.
    """
    whens = " ".join(f"WHEN action = '{action}' THEN {value}" for action, value in values.items())
    broken = f"query IS NULL OR entity_id IS NULL OR entity_type IS NULL OR {no_time_in_sql()}"
    value = f"CASE WHEN {broken} OR entity_type NOT IN ('pin', 'product') THEN {_REFUSE} {whens} ELSE {_REFUSE} END"
    # null must pass the conditions, to be met by the check
    conditions = ["entity_type IS DISTINCT FROM 'query'"]
    if span is not None:
        conditions.append(f"(us >= {span[0]} AND us < {span[1]}) IS NOT FALSE")
    if training is not None:
        conditions.append(f"{name_in_sql(training)} IN (SELECT value FROM training)")
    return f"SELECT entity_type, entity_id, query, us, {value} AS value FROM ({log}) WHERE {' AND '.join(conditions)}"


def _not_blank(column: str) -> str:
    return f"CASE WHEN {blank_in_sql(column)} THEN {_REFUSE} ELSE {column} END AS {column}"
