"""Emojibase: emoji as pins, search tags as queries, groups and subgroups as interests.

A tag is a curated search word, not a logged query. All languages share one split by the tag's text alone, and a
string that is held out stands in no training text of any pin: not among the engaged queries, and neither as the
title nor as one of the labels in the description.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import split_key
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.sources import (
    NO_TIME,
    ImportResult,
    normalised,
    read_json,
    read_json_records,
    required_text,
    source_folder,
)
from omnifeat.importers.splitting import hash_split

__all__ = ["Emoji", "held_out_strings", "import_emojibase", "known_languages"]

LABEL_SEPARATOR = "; "
_DATA_FILES = ("data.json.gz", "data.json")
_GROUPS_FILES = ("groups.json", "groups.json.gz")


@dataclass
class Emoji:
    """One emoji over all languages: its labels by language, and its tags, normalised, by language."""

    hexcode: str
    character: str
    group: int | None
    subgroup: int | None
    labels: dict[str, str] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)

    def tag_languages(self) -> dict[str, list[str]]:
        """Each distinct tag with the languages it stands in, in order of first appearance."""
        languages: dict[str, list[str]] = {}
        for language, tags in self.tags.items():
            for tag in tags:
                languages.setdefault(tag, []).append(language)
        return languages


@dataclass(frozen=True)
class _Groups:
    """Names of groups and subgroups, and the group that each subgroup belongs to."""

    groups: dict[int, str]
    subgroups: dict[int, str]
    group_of: dict[int, int]

    def interest(self, group: int) -> str:
        return self.groups[group]

    def sub_interest(self, subgroup: int) -> str:
        # a subgroup may bear the name of a group; with its group before it the id is unique
        return f"{self.groups[self.group_of[subgroup]]}/{self.subgroups[subgroup]}"


def known_languages(source: str | Path) -> list[str]:
    """Names of the languages in a source folder, sorted. Raises `DataError` where there is none."""
    folder = source_folder(source)
    languages = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and _first_file(entry, _DATA_FILES) is not None
    )
    if not languages:
        raise DataError(f"{folder} holds no LANGUAGE/data.json.gz; give the folder of the emojibase-data package.")
    return languages


def import_emojibase(
    source: str | Path,
    out: str | Path,
    *,
    languages: Sequence[str] | None = None,
    test: float = 0.1,
    development: float = 0.1,
    salt: str = "",
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from the `emojibase-data` files.

    Tables: `pins` (an emoji each), `queries` (a row per distinct tag, with its languages), `engagements` (a row per tag
    and emoji), `interests` (groups at level 1, subgroups at level 2), `query_interests`.

    Parameters
    ----------
    source
        Folder with `LANGUAGE/data.json.gz` (or `.json`) and `meta/groups.json`.
    out
        Dataset folder to write.
    languages
        Languages to read, the first one for the titles; all of them, English first, if None.
    test, development
        Fractions of the distinct tag texts held out, by a hash of the text alone.
    salt
        Text mixed into the hash: another salt, another split.
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    SettingError
        For a language that is not there, or fractions that leave no training part.
    DataError
        For missing or damaged files, records without a label or hexcode, a hexcode that stands twice in one
        language or is missing in another, an unknown group.
    OutputError
        Where `out` cannot be written.
    """
    folder = source_folder(source)
    chosen = _choose_languages(known_languages(folder), languages)
    split = hash_split(salt=salt, development=development, test=test)
    groups = _read_groups(folder)
    emoji = _read_emoji(folder, chosen, groups)

    tags = sorted({tag for one in emoji for tag in one.tag_languages()})
    if not tags:
        raise DataError(f"{folder} holds no tags in {', '.join(chosen)}; nothing could be searched for.")
    parts = dict(zip(tags, split.assign(pa.table({"query": pa.array(tags, pa.string())})).to_pylist(), strict=True))
    held_out = {tag for tag, part in parts.items() if part != "train"}

    pins, left_out = _pins(emoji, chosen, held_out, groups)
    untagged = sum(not one.tags for one in emoji)
    notes = [
        f"Languages: {', '.join(chosen)}.",
        "A tag is a curated search word, not a logged query; its timestamp is a constant "
        f"({NO_TIME.date()}) and means nothing.",
        f"{left_out:,} labels that equal a held-out tag were left out of titles and descriptions.",
        f"{untagged:,} emoji without tags are kept as pins; they are in the corpus and never a positive.",
    ]
    tables = {
        "pins": pins,
        "queries": _queries(emoji, chosen, groups),
        "engagements": _engagements(emoji),
        "interests": _interests(groups),
        "query_interests": _query_interests(emoji, groups),
    }
    info = DatasetInfo(
        name="emojibase", source="emojibase-data", licence="MIT", created_by="omnifeat import emojibase",
        split=split, notes=notes,
    )  # fmt: skip
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for name, table in tables.items():
            writer.write(name, table)
    return ImportResult(Path(out), {name: table.num_rows for name, table in tables.items()}, notes)


def held_out_strings(texts: Iterable[str | None], held_out: set[str]) -> list[str]:
    """The texts, or `; `-joined parts of texts, that the split takes for a held-out string.

    Texts are the same to it where `split_key` says so: also in another case or width. A held-out string in a pin's text
    gives the answer of its own test query away; an imported folder has none.
    """
    keys = {split_key(text) for text in held_out}
    return [part for text in texts if text is not None for part in _held_out_parts(text, keys)]


def _held_out_parts(text: str, keys: set[str]) -> list[str]:
    # a label may itself hold the separator: its parts are strings of their own in the description
    candidates = {text, *text.split(LABEL_SEPARATOR)}
    return sorted(candidate for candidate in candidates if split_key(candidate) in keys)


def _choose_languages(known: list[str], languages: Sequence[str] | None) -> list[str]:
    if languages is None:
        return sorted(known, key=lambda language: (language != "en", language))
    if not languages:
        raise SettingError(f"No language is named; name some of: {', '.join(known)}.")
    for language in languages:
        if language not in known:
            raise SettingError(f"Unknown language '{language}'; the source has: {', '.join(known)}.")
    if len(set(languages)) != len(languages):
        raise SettingError(f"A language is named twice in '{','.join(languages)}'; name each once.")
    return list(languages)


def _first_file(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_groups(folder: Path) -> _Groups:
    path = _first_file(folder / "meta", _GROUPS_FILES)
    if path is None:
        raise DataError(f"{folder / 'meta' / 'groups.json'} does not exist; it names groups and subgroups.")
    value = read_json(path)
    try:
        groups = {int(key): str(name) for key, name in value["groups"].items()}
        subgroups = {int(key): str(name) for key, name in value["subgroups"].items()}
        group_of = {int(sub): int(group) for group, subs in value["hierarchy"].items() for sub in subs}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} must map 'groups', 'subgroups' and 'hierarchy' by number; fetch it again.") from error
    for subgroup, name in subgroups.items():
        if group_of.get(subgroup) not in groups:
            raise DataError(f"{path}: subgroup {subgroup} ('{name}') is in no known group; fetch it again.")
    return _Groups(groups, subgroups, group_of)


def _read_emoji(folder: Path, languages: Sequence[str], groups: _Groups) -> list[Emoji]:
    emoji: dict[str, Emoji] = {}
    for position, language in enumerate(languages):
        # known_languages has seen one of them
        path = _first_file(folder / language, _DATA_FILES) or folder / language / _DATA_FILES[0]
        seen: set[str] = set()
        for row, record in enumerate(read_json_records(path), start=1):
            hexcode = required_text(record, "hexcode", f"{path}, record {row}")
            where = f"{path}, record {row} ({hexcode})"
            if hexcode in seen:
                raise DataError(f"{where}: the hexcode stands twice in this file; keep one of the records.")
            seen.add(hexcode)
            if position == 0:
                character = required_text(record, "emoji", where)
                emoji[hexcode] = Emoji(hexcode, character, *_group_of(record, groups, where))
            elif hexcode not in emoji:
                raise DataError(f"{where}: '{languages[0]}' has no such hexcode; take all languages from one release.")
            emoji[hexcode].labels[language] = required_text(record, "label", where)
            tags = _tags_of(record, where)
            if tags:
                emoji[hexcode].tags[language] = tags
        missing = next((hexcode for hexcode in emoji if hexcode not in seen), None)
        if missing is not None:
            raise DataError(
                f"{path} has no record with hexcode {missing}, which '{languages[0]}' has; "
                "take all languages from one release."
            )
        if not seen:
            raise DataError(f"{path} holds no records; fetch it again.")
    return list(emoji.values())


def _group_of(record: dict[str, Any], groups: _Groups, where: str) -> tuple[int | None, int | None]:
    group, subgroup = record.get("group"), record.get("subgroup")
    if group is None and subgroup is None:
        return None, None
    if group not in groups.groups:
        raise DataError(f"{where}: group {group!r} is not named in meta/groups.json; take both from one release.")
    if subgroup not in groups.subgroups or groups.group_of[subgroup] != group:
        raise DataError(
            f"{where}: subgroup {subgroup!r} is not one of group {group} in meta/groups.json; "
            "take both from one release."
        )
    return group, subgroup


def _tags_of(record: dict[str, Any], where: str) -> list[str]:
    tags = record.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise DataError(f"{where}: 'tags' must be a list of texts but is {tags!r}; correct the record.")
    return list(dict.fromkeys(text for text in map(normalised, tags) if text))


def _pins(
    emoji: Sequence[Emoji], languages: Sequence[str], held_out: set[str], groups: _Groups
) -> tuple[pa.Table, int]:
    """The pins, and how many labels were left out because they equal a held-out tag."""
    columns: dict[str, list[Any]] = defaultdict(list)
    left_out = 0
    keys = {split_key(tag) for tag in held_out}
    for one in emoji:
        kept = {language: label for language, label in one.labels.items() if not _held_out_parts(label, keys)}
        left_out += len(one.labels) - len(kept)
        others = dict.fromkeys(kept[language] for language in languages[1:] if language in kept)
        columns["id"].append(one.hexcode)
        columns["title"].append(kept.get(languages[0]))
        columns["description"].append(LABEL_SEPARATOR.join(others) or None)
        columns["engaged_queries"].append([tag for tag in one.tag_languages() if tag not in held_out])
        columns["emoji"].append(one.character)
        columns["group"].append(None if one.group is None else groups.groups[one.group])
        columns["subgroup"].append(None if one.subgroup is None else groups.subgroups[one.subgroup])
        columns["language"].append(languages[0])
    text = pa.string()
    types = dict.fromkeys(columns, text) | {"engaged_queries": pa.list_(text)}
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()}), left_out


def _queries(emoji: Sequence[Emoji], order: Sequence[str], groups: _Groups) -> pa.Table:
    """A row per distinct tag: a query is its text, so one that stands in several languages lists them all."""
    languages: dict[str, dict[str, None]] = defaultdict(dict)
    interests: dict[str, dict[str, None]] = defaultdict(dict)
    for one in emoji:
        for tag, tag_languages in one.tag_languages().items():
            languages[tag].update(dict.fromkeys(tag_languages))
            interests[tag].update(dict.fromkeys(_interests_of(one, groups)))
    ordered = sorted(languages)
    texts = pa.list_(pa.string())
    return pa.table(
        {
            "query": pa.array(ordered, pa.string()),
            "language": pa.array([min(languages[query], key=order.index) for query in ordered], pa.string()),
            "languages": pa.array([sorted(languages[query]) for query in ordered], texts),
            "interests": pa.array([sorted(interests[query]) for query in ordered], texts),
        }
    )


def _engagements(emoji: Sequence[Emoji]) -> pa.Table:
    rows = [(tag, one.hexcode, languages) for one in emoji for tag, languages in one.tag_languages().items()]
    return pa.table(
        {
            "query": pa.array([row[0] for row in rows], pa.string()),
            "entity_id": pa.array([row[1] for row in rows], pa.string()),
            "entity_type": pa.array(["pin"] * len(rows), pa.string()),
            "action": pa.array(["click"] * len(rows), pa.string()),
            "timestamp": pa.array([NO_TIME] * len(rows), pa.timestamp("us", tz="UTC")),
            "languages": pa.array([row[2] for row in rows], pa.list_(pa.string())),
        }
    )


def _interests_of(one: Emoji, groups: _Groups) -> list[str]:
    if one.group is None or one.subgroup is None:
        return []
    return [groups.interest(one.group), groups.sub_interest(one.subgroup)]


def _interests(groups: _Groups) -> pa.Table:
    rows: list[tuple[str, str, str | None, int]] = [
        (groups.interest(group), name, None, 1) for group, name in sorted(groups.groups.items())
    ]
    rows += [
        (groups.sub_interest(sub), name, groups.interest(groups.group_of[sub]), 2)
        for sub, name in sorted(groups.subgroups.items())
    ]
    return pa.table(
        {
            "interest_id": pa.array([row[0] for row in rows], pa.string()),
            "name": pa.array([row[1] for row in rows], pa.string()),
            "parent_id": pa.array([row[2] for row in rows], pa.string()),
            "level": pa.array([row[3] for row in rows], pa.int64()),
        }
    )


def _query_interests(emoji: Sequence[Emoji], groups: _Groups) -> pa.Table:
    rows = sorted(
        {(tag, interest) for one in emoji for tag in one.tag_languages() for interest in _interests_of(one, groups)}
    )
    return pa.table(
        {
            "query": pa.array([query for query, _ in rows], pa.string()),
            "interest_id": pa.array([interest for _, interest in rows], pa.string()),
        }
    )
