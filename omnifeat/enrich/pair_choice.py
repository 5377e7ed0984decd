"""Which pairs are written: the log grouped to pairs, caps and samples, as SQL in a store (section 4.1 of the paper).

The store's table `pairs` holds a row for each (part, set, query, entity), with a time and a number of rows for each of
the set's actions, and rows for what was left out, without query and entity, so that the log is read once. Numbers stand
for sets (their places among the settings'), actions (their places in their set, the slots) and parts.

A pair goes by its lot, the MD5 of (seed, set, query, entity id): of those that are too many, the smallest lots stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ACTIONS, ENTITY_TABLES, ENTITY_TYPES
from omnifeat.data.splits import SPLITS
from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.engines import REFUSED, Store
from omnifeat.enrich.pair_log import GAP_PART, PairLog
from omnifeat.enrich.pair_report import PairCounts
from omnifeat.enrich.pair_settings import PairSettings, actions_that_pair
from omnifeat.errors import DataError

__all__ = ["PairChoice"]

_REASONS = {1: "other action", 2: "gap", 3: "query with itself", 4: "held-out suggestion"}


class PairChoice:
    """The pairs of a log, and which of them are chosen.

    The store must have the table `entities` of (entity_type, entity_id), each once.

    Raises
    ------
    DataError
        The log has no rows, a row that lacks a value or whose action or entity type is not known, or an entity that is
        in no table, or nothing is left to train on.
    """

    def __init__(self, store: Store, dataset: Dataset, log: PairLog, settings: PairSettings) -> None:
        self._store, self._dataset, self._log, self._settings = store, dataset, log, settings
        self._names = list(settings.actions)
        self._actions = [list(dict.fromkeys(settings.actions[name])) for name in self._names]
        self._slots = range(max(map(len, self._actions), default=1))
        self._by_reason: dict[str, int] = {}
        with log.named_rows():
            self._group()
        self._count_left_out()
        self._check_entities()
        self._cut_by_caps()
        self._judge(self._cuts_of_samples())

    @property
    def chosen(self) -> str:
        """SQL of the chosen pairs, a row for each of their actions: the columns of `engagements`.

        Columns: query, entity_id, label (a place in `labels`), us (microseconds since 1970), country
        (a number of the log's), n (rows of the log), and `extra` if the log has one. In order of time, query, entity
        and action.
        """
        slots, extra = len(self._slots), self._log.extra is not None
        types, actions = self.labels()
        # numbers in the order of the names that they stand for: cheaper to sort by than the names
        type_places = {label: sorted(set(types)).index(name) for label, name in enumerate(types)}
        action_places = {label: sorted(set(actions)).index(name) for label, name in enumerate(actions)}
        first = _case("slot", {slot: f"first_{slot}" for slot in self._slots})
        columns = {
            "label": f"task * {slots} + slot",
            "first": first,
            "n": _case("slot", {slot: f"n_{slot}" for slot in self._slots}),
            **({"extra": _case("slot", {slot: f"extra_{slot}" for slot in self._slots})} if extra else {}),
        }
        return f"""
            SELECT query, entity_id, label, {self._log.moment("first")} AS us, {self._log.country("first")} AS country,
                n{", extra" if extra else ""}
            FROM (
                SELECT part, query, entity_id, {", ".join(f"{sql} AS {name}" for name, sql in columns.items())}
                FROM judged, (VALUES {", ".join(f"({slot})" for slot in self._slots)}) slots(slot)
                WHERE {_case("slot", {slot: f"keep_{slot}" for slot in self._slots})}
            )
            ORDER BY us, query, {_case("label", type_places)}, entity_id, {_case("label", action_places)}, part
        """

    def labels(self) -> tuple[list[str], list[str]]:
        """Entity types and actions that the numbers of `chosen` stand for, which are `set * slots + slot`."""
        types, actions = [], []
        for task, taken in enumerate(self._actions):
            types += [self._entity_type(task)] * len(self._slots)
            actions += [*taken, *[""] * (len(self._slots) - len(taken))]
        return types, actions

    def counts(self) -> PairCounts:
        """What came of each row of the log; the counts add up to its rows.

        Raises
        ------
        DataError
            Nothing is left to train on.
        """
        present = " + ".join(f"(n_{slot} > 0)::INTEGER" for slot in self._slots)
        kept = " + ".join(f"keep_{slot}::INTEGER" for slot in self._slots)
        used = unique = under_cap = written = 0
        pairs = {name: dict.fromkeys(SPLITS, 0) for name in self._names}
        before = {name: dict.fromkeys(SPLITS, 0) for name in self._names}
        for task, part, *numbers in self._store.run(
            f"SELECT task, part, count(*), count(*) FILTER (({kept}) > 0), sum(n), sum({present}), "
            f"coalesce(sum({present}) FILTER (under_cap), 0), sum({kept}) FROM judged GROUP BY task, part"
        ):
            all_pairs, chosen, rows, rows_unique, rows_under_cap, rows_kept = map(int, numbers)
            before[self._names[task]][SPLITS[part]], pairs[self._names[task]][SPLITS[part]] = all_pairs, chosen
            used, unique = used + rows, unique + rows_unique
            under_cap, written = under_cap + rows_under_cap, written + rows_kept
        seen = self._store.run(
            f"SELECT task, count(*) FROM (SELECT task, lot FROM judged WHERE part = 2 AND ({kept}) > 0) "
            "SEMI JOIN (SELECT lot FROM pairs WHERE reason = 0 AND part = 0) USING (lot) GROUP BY task"
        )
        in_training = sorted((self._names[task], int(count)) for task, count in seen)
        counts = PairCounts(
            log_rows=used + sum(self._by_reason.values()),
            rows_written=written,
            pairs=pairs,
            before_caps=before,
            left_out=dict(sorted(self._by_reason.items()))
            | {
                "repeated": used - unique,
                "over the cap": unique - under_cap,
                "over the number of evaluation pairs": under_cap - written,
            },
            test_pairs_seen_in_training=dict(in_training),
            corpus={},
        )
        if not counts.total("train"):
            self._raise_nothing_to_train_on(unique)
        return counts

    def _entity_type(self, task: int) -> str:
        return PAIR_TASKS[self._names[task]][0]

    def _group(self) -> None:
        """Make the store's `pairs`. The states of fixed size let DuckDB put aside on disk what it groups."""
        slots = len(self._slots)
        codes: dict[str, dict[str, int]] = {}
        for task, taken in enumerate(self._actions):
            of_type = codes.setdefault(self._entity_type(task), {})
            for slot, action in enumerate(taken):
                of_type.setdefault(action, task * slots + slot)
        by_action = {f"'{kind}'": _case("action", _quoted(found)) for kind, found in codes.items()}
        code = f"({_case('entity_type', by_action)})::TINYINT"
        has_extra = self._log.extra is not None
        extra = ", extra" if has_extra else ""
        aggregates = ", ".join(
            f"min(first) FILTER (slot = {slot}) AS first_{slot}, count(*) FILTER (slot = {slot}) AS n_{slot}"
            + (f", min(extra) FILTER (slot = {slot}) AS extra_{slot}" if has_extra else "")
            for slot in self._slots
        )
        name = _case("task", {n: f"'{name}'" for n, name in enumerate(self._names)})
        # asked of the rows alone that make no pair: the others are of known types and actions
        known = f"entity_type IN ({_texts(ENTITY_TYPES)}) AND action IN ({_texts(ACTIONS)})"
        lot = f"md5_number(concat_ws(chr(31), '{self._settings.seed}', {name}, query, entity_id))"
        self._store.run(
            f"""
            CREATE TABLE pairs AS
            SELECT part, task, reason, query, entity_id, {aggregates}, count(*) AS n, {lot} AS lot
            FROM (
                SELECT part, (code // {slots})::TINYINT AS task, code % {slots} AS slot, reason, first{extra},
                    CASE reason WHEN 0 THEN query ELSE '' END AS query,
                    CASE reason WHEN 0 THEN entity_id ELSE '' END AS entity_id
                FROM (
                    SELECT *, (CASE
                        WHEN code IS NULL THEN CASE WHEN {known} THEN 1 ELSE error('{REFUSED}') END
                        WHEN part = {GAP_PART} THEN 2
                        WHEN entity_type = 'query' AND entity_id = query THEN 3
                        WHEN held THEN 4
                        ELSE 0
                    END)::TINYINT AS reason
                    FROM (SELECT *, {code} AS code FROM ({self._log.rows}))
                )
            ) GROUP BY part, task, reason, query, entity_id
            """
        )

    def _count_left_out(self) -> None:
        found = self._store.run("SELECT reason, sum(n) FROM pairs WHERE reason > 0 GROUP BY reason")
        self._by_reason = {_REASONS[reason]: int(count) for reason, count in found}
        if not found and not self._store.run("SELECT 1 FROM pairs LIMIT 1"):
            raise DataError(
                f"{self._dataset.place(self._log.table)} has no rows: give a table with at least one, or leave the "
                "table out"
            )

    def _check_entities(self) -> None:
        """Refuse pairs of entities that are in no table, or take them out of `pairs`."""
        entity_type = _case("task", {n: f"'{self._entity_type(n)}'" for n in range(len(self._names))})
        self._store.run(
            f"""
            CREATE TABLE unknown AS SELECT entity_type, entity_id, sum(n) AS n
            FROM (SELECT {entity_type} AS entity_type, entity_id, n FROM pairs WHERE reason = 0)
            ANTI JOIN entities USING (entity_type, entity_id) WHERE entity_type <> 'query' GROUP BY ALL
            """
        )
        rows = self._store.run("SELECT sum(n) FROM unknown")[0][0]
        if rows is None:
            return
        if self._settings.drop_unknown:
            self._store.run(
                f"DELETE FROM pairs USING unknown u WHERE reason = 0 AND {entity_type} = u.entity_type "
                "AND pairs.entity_id = u.entity_id"
            )
            self._by_reason["unknown entity"] = int(rows)
            return
        kind, entity_id = self._store.run(
            "SELECT entity_type, entity_id FROM unknown ORDER BY entity_type, entity_id LIMIT 1"
        )[0]
        raise DataError(
            f"{self._dataset.place(self._log.table)} has the {kind} '{entity_id}', which is not in the table "
            f"'{ENTITY_TABLES[kind][0]}' ({int(rows):,} such rows in all): add it there, or leave such rows out with "
            "--drop-unknown"
        )

    def _cut_by_caps(self) -> None:
        """Make the store's `caps`: the last lot that stays, where a set has too many training pairs of an entity."""
        caps = {n: self._settings.caps.get(self._entity_type(n)) for n in range(len(self._names))}
        cap = _case("task", {n: most for n, most in caps.items() if most is not None})
        # only pairs of entities with too many are put in order
        self._store.run(
            f"""
            CREATE TABLE caps AS
            WITH training AS (SELECT part, task, entity_id, lot FROM pairs WHERE reason = 0 AND part = 0),
            heavy AS (SELECT task, entity_id FROM training GROUP BY task, entity_id HAVING count(*) > {cap})
            SELECT part, task, entity_id, lot AS cut FROM training SEMI JOIN heavy USING (task, entity_id)
            QUALIFY row_number() OVER (PARTITION BY task, entity_id ORDER BY lot) = {cap}
            """
        )

    def _cuts_of_samples(self) -> dict[int, dict[tuple[int, int], int]]:
        """Slot -> (part, set) -> the greatest lot that stays, of evaluation parts with too many pairs of an action."""
        most = self._settings.evaluation_pairs
        cuts: dict[int, dict[tuple[int, int], int]] = {slot: {} for slot in self._slots}
        for slot in self._slots if most is not None else ():
            of_action = f"FROM pairs WHERE reason = 0 AND part > 0 AND n_{slot} > 0"
            groups = self._store.run(f"SELECT part, task {of_action} GROUP BY part, task HAVING count(*) > ?", most)
            for part, task in groups:
                cuts[slot][part, task] = self._store.run(
                    f"SELECT lot {of_action} AND part = ? AND task = ? ORDER BY lot LIMIT 1 OFFSET ?",
                    part, task, (most or 0) - 1,
                )[0][0]  # fmt: skip
        return cuts

    def _judge(self, cuts: Mapping[int, Mapping[tuple[int, int], int]]) -> None:
        """Make the store's view `judged`: pairs with whether they are under the cap, and which actions are kept."""
        kept = []
        for slot in self._slots:
            whens = " ".join(
                f"WHEN part = {part} AND task = {task} THEN lot <= '{cut}'::UHUGEINT"
                for (part, task), cut in cuts[slot].items()
            )
            in_sample = f"CASE {whens} ELSE true END" if whens else "true"
            kept.append(f"(n_{slot} > 0 AND under_cap AND {in_sample}) AS keep_{slot}")
        self._store.run(
            f"""
            CREATE VIEW judged AS SELECT *, {", ".join(kept)} FROM (
                SELECT pairs.*, (cut IS NULL OR lot <= cut) AS under_cap
                FROM pairs LEFT JOIN caps USING (part, task, entity_id) WHERE reason = 0
            )
            """
        )

    def _raise_nothing_to_train_on(self, unique: int) -> None:
        place = self._dataset.place(self._log.table)
        other = self._by_reason.get("other action")
        if not unique and other:
            actions = self._store.run("SELECT DISTINCT entity_type, action FROM log ORDER BY entity_type, action")
            made = {(self._entity_type(n), action) for n, taken in enumerate(self._actions) for action in taken}
            others = [(kind, action) for kind, action in actions if (kind, action) not in made]
            names = sorted({action for _, action in others})
            taken = [f"--actions {name}={found[0]}" for name, found in actions_that_pair(others).items()]
            raise DataError(
                f"{place} has no row whose action makes a pair, but such as {', '.join(names)}: "
                f"name the actions to take with --actions{', such as ' + taken[0] if taken else ''}"
            )
        raise DataError(
            f"{place} has no pair for the training part of the split: choose a later split or a smaller gap"
        )


def _case(value: str, results: Mapping[Any, object]) -> str:
    """SQL of the result for each value; null for other values."""
    if not results:
        return "NULL"
    return f"CASE {value} {' '.join(f'WHEN {one} THEN {result}' for one, result in results.items())} END"


def _texts(texts: Iterable[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)


def _quoted(results: Mapping[str, object]) -> dict[str, object]:
    return {f"'{text}'": result for text, result in results.items()}
