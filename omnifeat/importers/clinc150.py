"""CLINC150: short utterances with one of 150 intents each, as queries; the intents and their ten domains as interests.

Utterances out of scope are queries without an interest. The publisher's own split names each utterance, which
`dataset.json` cannot say: it stands in a column, and one part of it can be imported alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.sources import ImportResult, read_json, source_folder
from omnifeat.importers.splitting import hash_split

__all__ = ["CLINC_PARTS", "import_clinc150"]

DATA_FILE = "data_full.json"
DOMAINS_FILE = "domains.json"
CLINC_PARTS = ("train", "val", "test")
_OUT_OF_SCOPE = "oos"


def import_clinc150(
    source: str | Path,
    out: str | Path,
    *,
    part: str = "all",
    out_of_scope: bool = True,
    test: float = 0.1,
    development: float = 0.1,
    salt: str = "",
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from `data_full.json` and `domains.json`.

    Tables: `queries` (an utterance each), `interests` (domains at level 1, intents at level 2), `query_interests`.

    Parameters
    ----------
    source
        Folder with the two files.
    out
        Dataset folder to write.
    part
        Part of the publisher's split to take: "train", "val", "test", or "all". With "val" or "test" no split is
        recorded: every row is held out.
    out_of_scope
        Take the utterances without an intent as well.
    test, development, salt
        The hash split of the utterances' texts that is recorded otherwise.
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    SettingError
        For an unknown part, or fractions that leave no training part.
    DataError
        For missing or damaged files, records that are not a text and an intent, an intent that is in no domain or two,
        a part without utterances.
    OutputError
        Where `out` cannot be written.
    """
    if part not in (*CLINC_PARTS, "all"):
        raise SettingError(f"Unknown part '{part}'; choose one of: {', '.join(CLINC_PARTS)}, all.")
    split = hash_split(salt=salt, development=development, test=test)
    folder = source_folder(source)
    domain_of = _read_domains(folder / DOMAINS_FILE)
    published = _read_utterances(folder / DATA_FILE, domain_of)

    rows, notes = _chosen(published, part, out_of_scope)
    if not rows:
        raise DataError(f"{folder / DATA_FILE} holds no utterance of the part '{part}'; fetch it again.")
    tables = {"queries": _queries(rows, domain_of), "interests": _interests(domain_of)}
    links = _query_interests(rows, domain_of)
    if links.num_rows:
        tables["query_interests"] = links
    info = DatasetInfo(
        name="clinc150", source="clinc/oos-eval, data_full.json and domains.json", licence="CC BY 3.0",
        created_by="omnifeat import clinc150", split=None if part in ("val", "test") else split, notes=notes,
    )  # fmt: skip
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for name, table in tables.items():
            writer.write(name, table)
    return ImportResult(Path(out), {name: table.num_rows for name, table in tables.items()}, notes)


def _chosen(
    published: Mapping[str, Sequence[tuple[str, str | None]]], part: str, out_of_scope: bool
) -> tuple[dict[str, tuple[str, str | None]], list[str]]:
    """Part and intent of each distinct text, and what there is to say of them."""
    rows: dict[str, tuple[str, str | None]] = {}
    repeated = dropped = 0
    elsewhere: list[str] = []
    wanted = (
        (name.removeprefix("oos_"), text, intent)
        for name, utterances in published.items()
        for text, intent in utterances
    )
    for own, text, intent in wanted:
        if part not in ("all", own):
            continue
        if intent is None and not out_of_scope:
            dropped += 1
        elif text not in rows:
            rows[text] = (own, intent)
        elif rows[text][1] == intent:
            repeated += 1
        else:
            elsewhere.append(text)
    counts = Counter(own for own, _ in rows.values())
    without = sum(intent is None for _, intent in rows.values())
    examples = f" ({', '.join(repr(text) for text in elsewhere[:3])})" if elsewhere else ""
    notes = [
        "Utterances were written by crowd workers for an intent; they are no queries of a log.",
        f"Distinct utterances by published part: {', '.join(f'{name} {counts[name]:,}' for name in counts)}; "
        f"{without:,} are out of scope and have no interest.",
        f"{repeated:,} utterances that stand again with the same intent were left out.",
        f"{len(elsewhere):,} utterances that stand again with another intent were left out, the first kept{examples}.",
        f"{dropped:,} utterances out of scope were left out, as asked." if not out_of_scope else None,
        {
            "all": "The recorded split is by a hash of the text; the publisher's is in the column published_split.",
            "train": "All rows are of the publisher's part 'train'; the recorded split divides them further.",
        }.get(part, f"All rows are of the publisher's part '{part}' and held out: no split is recorded."),
    ]
    return rows, [note for note in notes if note is not None]


def _read_domains(path: Path) -> dict[str, str]:
    """The domain of each intent, in the order of the file."""
    value = read_json(path)
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path} must map domains to lists of intents; fetch it again.")
    domain_of: dict[str, str] = {}
    for domain, intents in value.items():
        if not domain or not isinstance(intents, list) or not all(isinstance(one, str) and one for one in intents):
            raise DataError(f"{path}: the domain '{domain}' must name a list of intents; fetch it again.")
        for intent in intents:
            if intent in domain_of:
                raise DataError(f"{path}: the intent '{intent}' stands twice; keep it in one domain.")
            domain_of[intent] = domain
    return domain_of


def _read_utterances(path: Path, domain_of: Mapping[str, str]) -> dict[str, list[tuple[str, str | None]]]:
    """Text and intent (None out of scope) of each utterance, by list of the file, scoped lists first."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} must be an object of lists but is a {type(value).__name__}; fetch it again.")
    found: dict[str, list[tuple[str, str | None]]] = {}
    for name in [*CLINC_PARTS, *(f"oos_{part}" for part in CLINC_PARTS)]:
        if name not in value:
            raise DataError(f"{path} has no list '{name}' (it has: {', '.join(value) or 'none'}); fetch it again.")
        if not isinstance(value[name], list):
            raise DataError(f"{path}: '{name}' must be a list of utterances; fetch it again.")
        found[name] = [
            _utterance(record, domain_of, f"{path}, '{name}', record {row}")
            for row, record in enumerate(value[name], start=1)
        ]
    unknown = sorted(set(value) - set(found))
    if unknown:
        raise DataError(f"{path} has a list '{unknown[0]}' that is not known; give data_full.json as published.")
    return found


def _utterance(record: Any, domain_of: Mapping[str, str], where: str) -> tuple[str, str | None]:
    if not isinstance(record, list) or len(record) != 2 or not all(isinstance(item, str) for item in record):
        raise DataError(f"{where} must be a text and its intent but is {record!r}; correct it.")
    text, intent = " ".join(record[0].split()), record[1]
    if not text:
        raise DataError(f"{where}: the text is empty; correct it.")
    if intent == _OUT_OF_SCOPE:
        return text, None
    if intent not in domain_of:
        raise DataError(
            f"{where}: the intent '{intent}' is in no domain of {DOMAINS_FILE}; take both from one release."
        )
    return text, intent


def _interest(intent: str, domain_of: Mapping[str, str]) -> str:
    # an intent may bear the name of a domain; with its domain before it the id is unique
    return f"{domain_of[intent]}/{intent}"


def _queries(rows: Mapping[str, tuple[str, str | None]], domain_of: Mapping[str, str]) -> pa.Table:
    interests = [
        [] if intent is None else [domain_of[intent], _interest(intent, domain_of)] for _, intent in rows.values()
    ]
    return pa.table(
        {
            "query": pa.array(list(rows), pa.string()),
            "language": pa.array(["en"] * len(rows), pa.string()),
            "interests": pa.array(interests, pa.list_(pa.string())),
            "published_split": pa.array([part for part, _ in rows.values()], pa.string()),
            "out_of_scope": pa.array([intent is None for _, intent in rows.values()], pa.bool_()),
        }
    )


def _interests(domain_of: Mapping[str, str]) -> pa.Table:
    domains = list(dict.fromkeys(domain_of.values()))
    count = len(domain_of)
    return pa.table(
        {
            "interest_id": pa.array([*domains, *(_interest(intent, domain_of) for intent in domain_of)], pa.string()),
            "name": pa.array([name.replace("_", " ") for name in [*domains, *domain_of]], pa.string()),
            "parent_id": pa.array([*[None] * len(domains), *domain_of.values()], pa.string()),
            "level": pa.array([1] * len(domains) + [2] * count, pa.int64()),
        }
    )


def _query_interests(rows: Mapping[str, tuple[str, str | None]], domain_of: Mapping[str, str]) -> pa.Table:
    links = [
        (text, interest)
        for text, (_, intent) in rows.items()
        if intent is not None
        for interest in (domain_of[intent], _interest(intent, domain_of))
    ]
    return pa.table(
        {
            "query": pa.array([text for text, _ in links], pa.string()),
            "interest_id": pa.array([interest for _, interest in links], pa.string()),
        }
    )
