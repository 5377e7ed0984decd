"""What people type: queries of every breadth in three languages and four countries, some misspelled.

Shape suffixes: Q queries, S slots of a text.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.simulator import rates
from omnifeat.simulator.concepts import ABSENT, Concepts, FloatArray, IntArray, LatentSpace, draw_concepts, zipf
from omnifeat.simulator.lexicon import LANGUAGES, LEAVES_PER_THING, lexicon
from omnifeat.simulator.phrasebook import phrasebook, render, split
from omnifeat.simulator.places import up
from omnifeat.simulator.wording import phrase

__all__ = ["Queries", "interest_ids", "interests_table", "make_queries", "misspell", "queries_table", "words_by_query"]

_VOWELS = "aeiou"


@dataclass(frozen=True)
class Queries:
    """Q distinct queries with all that is known of them only to the world."""

    texts: pa.Array
    meant: pa.Array  # the same, as it is spelled
    concepts: Concepts
    locales: IntArray  # (Q,)
    latent: FloatArray  # (Q, D)
    popularity: npt.NDArray[np.float64]  # (Q,), sums to 1
    phrases: IntArray  # (Q, S), as meant
    misspelled: npt.NDArray[np.bool_]  # (Q,)

    def __len__(self) -> int:
        return len(self.misspelled)


def make_queries(rng: np.random.Generator, number: int, space: LatentSpace, things: npt.NDArray[np.float64]) -> Queries:
    """Draw queries until enough are distinct; the plainer and the more usual their thing, the more popular."""
    drawn: list[tuple[Concepts, IntArray, IntArray, npt.NDArray[np.bool_]]] = []
    texts: list[str] = []
    meant: list[str] = []
    seen: set[str] = set()
    while len(texts) < number:
        concepts, locales, phrases = _draw(rng, number, things)
        correct = render(phrases).to_pylist()
        wrong = rng.random(number) < rates.MISSPELLED
        typed = [misspell(text, rng) if slip else text for text, slip in zip(correct, wrong, strict=True)]
        kept: list[int] = []
        for row, text in enumerate(typed):
            if text not in seen and len(texts) < number:
                seen.add(text)
                kept.append(row)
                texts.append(text)
                meant.append(correct[row])
        rows = np.array(kept, np.int64)
        slipped = np.array([typed[row] != correct[row] for row in kept], np.bool_)
        drawn.append((concepts.take(rows), locales[rows], phrases[rows], slipped))
    concepts = Concepts(*(
        np.concatenate([getattr(part[0], name) for part in drawn])
        for name in ("domains", "topics", "things", "leaves", "attributes")
    ))  # fmt: skip
    locales, phrases, misspelled = (np.concatenate([part[place] for part in drawn]) for place in (1, 2, 3))
    plain = (concepts.attributes >= 0).sum(axis=1) + rates.MISSPELLED_POPULARITY * misspelled
    rank = np.argsort(np.argsort(plain + 1.5 * rng.random(number), kind="stable"), kind="stable")
    usual = np.sqrt(np.where(concepts.things >= 0, things[concepts.things], things.mean()) / things.mean())
    # every locale types its head queries, but not as often: the shares of the countries stand in the popularity
    weight = zipf(number, rates.QUERY_POPULARITY_EXPONENT)[rank] * np.array(rates.COUNTRY_SHARES)[locales] * usual
    return Queries(
        pa.array(texts, pa.string()), pa.array(meant, pa.string()), concepts, locales.astype(np.int32),
        space.vectors(concepts, rng, rates.QUERY_OWN_PART), weight / weight.sum(), phrases.astype(np.int32), misspelled,
    )  # fmt: skip


def _draw(
    rng: np.random.Generator, number: int, things: npt.NDArray[np.float64]
) -> tuple[Concepts, IntArray, IntArray]:
    shares = (rates.QUERY_TOPIC, rates.QUERY_THING, rates.QUERY_LEAF, rates.QUERY_MORE)
    breadth = rng.choice(4, size=number, p=shares)
    full = draw_concepts(rng, number, things)
    plain = up(full, np.minimum(breadth + 2, 4))
    # only the longest name more than the leaf
    attributes = np.where((breadth == 3)[:, None], full.attributes, plain.attributes)
    attributes[breadth == 2, 1:] = ABSENT
    concepts = Concepts(plain.domains, plain.topics, plain.things, plain.leaves, attributes.astype(np.int32))
    locales = rng.choice(len(rates.COUNTRIES), size=number, p=rates.COUNTRY_SHARES).astype(np.int32)
    ended = (breadth == 0) | (rng.random(number) < rates.QUERY_ENDING)
    ending = np.where(ended, phrasebook().some("broad_ending", locales, rng), ABSENT).astype(np.int32)
    return concepts, locales, phrase(concepts, locales, rng, ending_N=ending)


def misspell(text: str, rng: np.random.Generator) -> str:
    """One slip in a word of four letters or more: a letter left out, doubled, swapped with the next, or another vowel.

    A text without such a word stays as it is.
    """
    words = text.split(" ")
    long = [row for row, word in enumerate(words) if len(word) >= 4]
    if not long:
        return text
    row = long[int(rng.integers(len(long)))]
    word = words[row]
    place = 1 + int(rng.integers(len(word) - 2))  # the first letter is right
    match int(rng.integers(4)):
        case 0:
            word = word[:place] + word[place + 1 :]
        case 1:
            word = word[:place] + word[place] + word[place:]
        case 2:
            word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        case _:
            vowels = [at for at, letter in enumerate(word) if letter in _VOWELS and at > 0] or [place]
            at = vowels[int(rng.integers(len(vowels)))]
            word = word[:at] + _VOWELS[int(rng.integers(len(_VOWELS)))] + word[at + 1 :]
    return " ".join([*words[:row], word, *words[row + 1 :]])


def interest_ids(concepts: Concepts) -> tuple[pa.Array, npt.NDArray[np.int32]]:
    """All interests' ids in order of level, and for each row (Q, 4) which it has, -1 beyond its breadth."""
    words = lexicon()
    topics, things = len(words.topics), len(words.things)
    starts = np.cumsum([0, len(words.domains), topics, things])
    leaf = np.where(
        (concepts.things >= 0) & (concepts.leaves >= 0), LEAVES_PER_THING * concepts.things + concepts.leaves, ABSENT
    )
    columns = (concepts.domains, concepts.topics, concepts.things, leaf)
    rows = np.stack(
        [np.where(column >= 0, column + start, ABSENT) for column, start in zip(columns, starts, strict=True)]
    )
    return interests_table()["interest_id"].combine_chunks(), rows.T.astype(np.int32)


def interests_table() -> pa.Table:
    """The four levels of interests, level by level; an id is the path of American names."""
    words = lexicon()
    rows: list[tuple[str, str, str | None, int]] = [(name[0][0], name[0][0], None, 1) for name in words.domains]
    topics = [f"{words.domains[topic.domain][0][0]}/{topic.words[0][0]}" for topic in words.topics]
    rows += [(path, topic.words[0][0], path.split("/")[0], 2) for path, topic in zip(topics, words.topics, strict=True)]
    things = [f"{topics[thing.topic]}/{thing.words[0][0]}" for thing in words.things]
    rows += [
        (path, thing.words[0][0], topics[thing.topic], 3) for path, thing in zip(things, words.things, strict=True)
    ]
    for path, thing in zip(things, words.things, strict=True):
        for value in thing.leaves:
            attribute = words.attributes[value]
            names = (attribute.words[0][0], thing.words[0][0])
            name = " ".join(reversed(names) if attribute.kind == "audience" else names)
            rows.append((f"{path}/{attribute.words[0][0]}", name, path, 4))
    identities, names_, parents, levels = zip(*rows, strict=True)
    return pa.table(
        {
            "interest_id": pa.array(identities, pa.string()),
            "name": pa.array(names_, pa.string()),
            "parent_id": pa.array(parents, pa.string()),
            "level": pa.array(levels, pa.int64()),
        }
    )


def queries_table(queries: Queries) -> tuple[pa.Table, pa.Table]:
    """The tables `queries` and `query_interests`."""
    ids, rows = interest_ids(queries.concepts)
    there = rows >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    interests = ids.take(pa.array(rows[there]))
    table = pa.table(
        {
            "query": queries.texts,
            "language": pa.array(LANGUAGES).take(pa.array(queries.locales)),
            "country": pa.array(rates.COUNTRIES).take(pa.array(queries.locales)),
            "interests": pa.ListArray.from_arrays(pa.array(offsets), interests),
        }
    )
    owner = np.repeat(np.arange(len(queries)), there.sum(axis=1))
    pairs = pa.table({"query": queries.texts.take(pa.array(owner)), "interest_id": interests})
    return table, pairs


def words_by_query(
    queries: Queries, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """What the engine looks up for each query.

    Returns offsets (Q + 1,), words and weights: the words typed, or meant where the engine corrects them, at weight 1,
    and for the share of queries that it expands, the synonyms of its locale at a lower one. The last array holds the
    words typed alone, as sorted `query * number_of_words + word`; a misspelled word is none.
    """
    book = phrasebook()
    number = len(queries)
    meant = book.word_pairs([queries.phrases])
    known = book.word_numbers()
    slips = np.flatnonzero(queries.misspelled)
    rewritten: list[int] = []
    for row in slips.tolist():
        for word in split(queries.texts[row].as_py()):
            if word in known:
                rewritten.append(row * book.number_of_words + known[word])
    untouched = meant[~queries.misspelled[meant // book.number_of_words]]
    typed = np.unique(np.concatenate([untouched, np.array(rewritten, np.int64)]))
    corrected = np.zeros(number, np.bool_)
    corrected[slips] = rng.random(len(slips)) < rates.CORRECTED
    found = typed[~corrected[typed // book.number_of_words]]
    found = np.union1d(found, meant[corrected[meant // book.number_of_words]])
    expanded = rng.random(number) < rates.EXPANDED
    understood = expanded & (~queries.misspelled | corrected)
    synonyms = book.word_pairs([_all_variants(queries, understood)])
    synonyms = np.setdiff1d(synonyms, found, assume_unique=True)
    pairs = np.concatenate([found, synonyms])
    weights = np.repeat(np.array([1.0, rates.SYNONYM_WEIGHT], np.float32), [len(found), len(synonyms)])
    order = np.argsort(pairs, kind="stable")
    rows = pairs[order] // book.number_of_words
    offsets = np.searchsorted(rows, np.arange(number + 1))
    return offsets, (pairs[order] % book.number_of_words).astype(np.int32), weights[order], typed


def _all_variants(queries: Queries, which: npt.NDArray[np.bool_]) -> IntArray:
    """Every phrase of the query's locale for its thing and its attributes, (Q, S); none where `which` is false."""
    book = phrasebook()
    columns = [book.things.phrases[queries.concepts.things, queries.locales]]
    for place in range(queries.concepts.attributes.shape[1]):
        columns.append(book.attributes.phrases[queries.concepts.attributes[:, place], queries.locales])
    return np.where(which[:, None], np.concatenate(columns, axis=1), ABSENT).astype(np.int32)
