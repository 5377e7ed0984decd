import concurrent.futures
import itertools
import json

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import reference
import safetensors.numpy
from awkward_texts import texts
from hypothesis import given, settings

from omnifeat.errors import DataError, EncoderError, OutputError, SettingError
from omnifeat.text import NgramSizes, NgramTokenizer

TEXTS = ["red shoes", None, "Red shoes for men", "新しい靴", "", "👍 red"]


def lists_of(bags):
    return [bags.ids[a:b].tolist() for a, b in zip(bags.offsets, bags.offsets[1:], strict=False)]


def fitted(rows=TEXTS, **settings):
    return NgramTokenizer.fit([pa.array(rows, pa.string())], **settings)


def test_ids_by_hand():
    """One trigram, two words and one bigram per text, counted by hand.

    Words: b 3 times, a twice, c once -> with two kept, b and a. Each letter has one trigram, so trigrams are ranked
    alike; bigrams: (a, b) twice, (b, c) once -> one kept. Ids: trigrams 0 (b) and 1 (a), words 2 (b) and 3 (a),
    bigram 4 (a b).
    """
    tokenizer = fitted(["a b c", "a b", "b"], sizes=NgramSizes(trigrams=2, words=2, bigrams=1))
    assert tokenizer.size == 5
    bags = tokenizer.encode(pa.array(["a b c", "c", "b a", None, "a b a b"]))
    # trigrams in reading order, then words, then bigrams; "c", "b c" and "b a" are out of the vocabulary
    assert lists_of(bags) == [
        [1, 0, 3, 2, 4],
        [],
        [0, 1, 2, 3],
        [],
        [1, 0, 1, 0, 3, 2, 3, 2, 4, 4],
    ]
    assert bags.ids.dtype == np.int32
    assert bags.offsets.dtype == np.int64
    assert bags.lengths.tolist() == [5, 0, 4, 0, 10]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.none() | texts(15), max_size=8),
    st.lists(st.none() | texts(15), max_size=4),
    st.tuples(st.integers(0, 30), st.integers(0, 10), st.integers(0, 10)),
    st.integers(1, 2),
)
def test_vocabulary_and_ids_equal_the_reference(rows, others, sizes, min_count):
    limits = NgramSizes(trigrams=sizes[0], words=sizes[1], bigrams=sizes[2])
    tokenizer = fitted(rows, sizes=limits, min_count=min_count)
    expected = reference.ReferenceTokenizer(rows, sizes, min_count)
    assert tokenizer.size == expected.size
    strings = pa.array(rows + others, pa.large_string())
    assert lists_of(tokenizer.encode(strings)) == [expected.encode(text) for text in rows + others]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | texts(15), max_size=12), st.data(), st.sampled_from([8, 1_000_000]))
def test_cutting_into_batches_changes_nothing(rows, data, max_tracked):
    """Also where the counters are too small, so that they forget (max_tracked 8)."""
    sizes = NgramSizes(trigrams=8, words=8, bigrams=8)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    edges = [0, *cuts, len(rows)]
    batches = [pa.array(rows[a:b], pa.string()) for a, b in itertools.pairwise(edges)]
    whole = fitted(rows, sizes=sizes, max_tracked=max_tracked)
    assert NgramTokenizer.fit(batches, sizes, max_tracked=max_tracked).fingerprint() == whole.fingerprint()
    chunked = pa.chunked_array(batches, pa.string())
    assert NgramTokenizer.fit(iter([chunked]), sizes, max_tracked=max_tracked).fingerprint() == whole.fingerprint()
    assert lists_of(whole.encode(chunked)) == lists_of(whole.encode(pa.array(rows, pa.string())))


def test_order_of_the_texts_changes_nothing_while_counts_are_exact():
    assert fitted(TEXTS[::-1]).fingerprint() == fitted(TEXTS).fingerprint()


def test_strings_longer_than_the_buffers_and_many_rows():
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(500)]
    sizes = [12_000, 3, 0, 9_000, *([0, 1, 2] * 3_000)]  # buffers hold 32,768 tokens and 4,096 rows
    rows = [" ".join(rng.choice(words, size)) for size in sizes]
    tokenizer = fitted(rows)
    expected = reference.ReferenceTokenizer(rows, (64_000, 200_000, 1_000_000))
    assert lists_of(tokenizer.encode(pa.array(rows))) == [expected.encode(text) for text in rows]


def test_slices_encode_as_their_rows():
    tokenizer = fitted()
    strings = pa.array(["x", *TEXTS, "y"], pa.string())
    assert lists_of(tokenizer.encode(strings.slice(1, 6))) == lists_of(tokenizer.encode(strings))[1:7]
    assert lists_of(tokenizer.encode(strings.slice(3, 0))) == []


def test_threads_may_share_a_tokenizer():
    tokenizer = fitted()
    strings = pa.array(TEXTS * 200, pa.string())
    expected = tokenizer.encode(strings).ids
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(tokenizer.encode, [strings] * 8))
    assert all(np.array_equal(bags.ids, expected) for bags in results)


def test_nothing_to_fit_on():
    tokenizer = NgramTokenizer.fit([])
    assert tokenizer.size == 0
    assert lists_of(tokenizer.encode(pa.array(["red shoes", None]))) == [[], []]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fitted(min_count=0), "'min_count' setting must be at least 1. Got 0 instead"),
        (lambda: fitted(max_tracked=10), r"at least the largest vocabulary \(1000000 tokens\). Got 10 instead"),
        (lambda: NgramSizes(words=-1), "'words' size of a vocabulary must not be negative. Got -1 instead"),
        (lambda: NgramSizes(bigrams=2**31), "must stay below 2147483648"),
    ],
)
def test_settings_are_checked(call, message):
    with pytest.raises(SettingError, match=message):
        call()


def test_text_that_is_not_utf8_is_refused():
    broken = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    with pytest.raises(DataError, match="Row 2 of the text column is not UTF-8"):
        fitted().encode(broken)
    with pytest.raises(DataError, match="Row 2 of the text column is not UTF-8"):
        NgramTokenizer.fit([broken])


def test_saved_and_loaded(tmp_path):
    tokenizer = fitted()
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = NgramTokenizer.load(tmp_path / "new" / "folder")
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.sizes == tokenizer.sizes
    strings = pa.array(TEXTS)
    assert lists_of(loaded.encode(strings)) == lists_of(tokenizer.encode(strings))
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "ngrams.json",
        "ngrams.safetensors",
    ]
    empty = NgramTokenizer.fit([])
    empty.save(tmp_path)
    assert NgramTokenizer.load(tmp_path).size == 0


def test_fingerprint_tells_vocabularies_apart():
    assert len({fitted(rows).fingerprint() for rows in (["a"], ["b"], ["a b"], [])}) == 4
    assert fitted(["a"]).fingerprint() == fitted(["A"]).fingerprint()


def test_golden_fingerprint():
    """The fingerprint of a saved tokenizer must not change between versions and machines."""
    assert fitted(["Hi 日"]).fingerprint() == GOLDEN_FINGERPRINT


GOLDEN_FINGERPRINT = "1ea0bcfd6c87be60c62844c7a6be8a4e23aa159e89021ea82ba1de4498c893e4"


def edit_settings(folder, **changes):
    path = folder / "ngrams.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder, change):
    path = folder / "ngrams.safetensors"
    tensors = {kind: values.copy() for kind, values in safetensors.numpy.load_file(path).items()}
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def flip_last_byte(folder):
    path = folder / "ngrams.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "ngrams.json").unlink(), r"has no file 'ngrams\.json'"),
        (lambda f: (f / "ngrams.safetensors").unlink(), r"has no file 'ngrams\.safetensors'"),
        (lambda f: (f / "ngrams.json").write_text("{"), r"ngrams\.json' is not JSON"),
        (lambda f: (f / "ngrams.json").write_bytes(b"\xff"), r"ngrams\.json' is not JSON"),
        (lambda f: (f / "ngrams.json").write_text("[]"), r"ngrams\.json' must hold an object in JSON"),
        (lambda f: edit_settings(f, format_version=2 * 10**50), "is of format 20000000000000000000 and definition"),
        (lambda f: edit_settings(f, definition="other"), "definition 'other' where 1 and"),
        (lambda f: edit_settings(f, sizes={"words": 1}), "lacks the sizes"),
        (lambda f: edit_settings(f, fingerprint=None), "lacks the sizes of the vocabularies or their fingerprint"),
        (lambda f: edit_settings(f, fingerprint="0" * 64), r"where ngrams\.json says 000000000000"),
        (lambda f: (f / "ngrams.safetensors").write_bytes(b"short"), "is no safetensors file"),
        (lambda f: edit_tensors(f, lambda t: t.pop("words")), r"holds \['bigrams', 'trigrams'\] where"),
        (lambda f: edit_tensors(f, lambda t: t.update(words=t["words"][:-1])), "'words' as uint64 of shape"),
        (lambda f: edit_tensors(f, lambda t: t.update(words=t["words"].astype("f4"))), "'words' as float32"),
        (lambda f: edit_tensors(f, lambda t: t["words"].fill(7)), "'words' with a token that is zero or stands"),
        (lambda f: edit_tensors(f, lambda t: t["words"].__setitem__(0, 0)), "with a token that is zero"),
        (lambda f: edit_tensors(f, lambda t: t.update(words=t["words"][::-1].copy())), "has fingerprint"),
        (flip_last_byte, "it was changed or damaged after saving"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, damage, message):
    fitted().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(EncoderError, match=message):
        NgramTokenizer.load(tmp_path)


def test_a_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/.* cannot be written: a file stands where"):
        fitted().save(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
