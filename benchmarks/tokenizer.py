"""How fast texts become token ids: omnifeat's kernels against plain Python, Polars and scikit-learn.

    python benchmarks/tokenizer.py --rows 100000

Everyone turns the same texts into ids of the same vocabulary, each in a process of its own and on one thread (Polars
also on two), in batches of 10,000 texts. Times are the best of some repeats, after a warm-up. Contenders run one after
another, so on a busy machine compare texts per second of CPU time: waiting for a core doesn't count in it. Memory is
how far the resident size grows while the first batch is encoded, texts and vocabulary being loaded.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "text")]

KINDS = ("trigrams", "words", "bigrams")
START, END = "\u0002", "\u0003"  # boundary marks of the trigrams of Polars and Python strings
BATCH = 10_000
# language: share of the texts, alphabet (or ranges of it), letters in a word
LANGUAGES = {
    "en": (0.50, "eeeettaaoinshrdlucmfwypvbgk", (2, 9)),
    "de": (0.10, "eeennisratdhulcgmobwfkzäöüß", (3, 12)),
    "fr": (0.10, "eeeaisntrulodcmpévqfbghèàêç", (2, 10)),
    "ru": (0.08, "оеаинтсрвлкмдпуяыьгзбчйхжш", (2, 10)),
    "ar": (0.05, "اليمونرتبعدسفهكقح", (3, 8)),
    "hi": (0.05, "कखगचजतदनपबमयरलवसहािीुेो", (2, 8)),
    "ko": (0.04, "가나다라마바사아자이기지고도로시한", (2, 5)),
    "ja": (0.05, "のにはをたがでてとしれさるンスイトル日本人年大出中", (1, 4)),
    "zh": (0.03, "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会", (1, 3)),
}


def make_texts(rows: int, words: int, seed: int) -> pa.StringArray:
    """Texts of `words` words, by language, word frequencies as Zipf has them, with capitals, emoji and marks."""
    rng = np.random.default_rng(seed)
    pools = []
    for _, alphabet, (shortest, longest) in LANGUAGES.values():
        lengths = rng.integers(shortest, longest + 1, 40_000)
        letters = rng.choice(list(alphabet), lengths.sum())
        pool = ["".join(part) for part in np.split(letters, np.cumsum(lengths)[:-1])]
        pools.append(np.array(pool, dtype=object))
    ranks = 1.0 / np.arange(1, 40_001)
    cumulative = np.cumsum(ranks) / ranks.sum()
    extras = np.array(["👍", "❤️", "- ", "| ", "½", "50%", "2024", "🇫🇷", "…"], dtype=object)
    languages = rng.choice(len(pools), rows, p=[share for share, _, _ in LANGUAGES.values()])
    texts = []
    for language in languages:
        drawn = pools[language][np.searchsorted(cumulative, rng.random(words))].copy()
        drawn[0] = drawn[0].capitalize()
        marks = rng.random(words)
        drawn[marks < 0.08] += ","
        if rng.random() < 0.2:
            drawn[rng.integers(words)] = extras[rng.integers(len(extras))]
        texts.append(("" if language == len(pools) - 1 else " ").join(drawn))
    return pa.array(texts)


# ---------------------------------------------------------------------------------------------------- contenders


def ours(folder: Path):
    from omnifeat.text import NgramTokenizer

    tokenizer = NgramTokenizer.load(folder)
    return tokenizer.encode


def bags_of_ours(bags) -> list[list[int]]:
    return [sorted(bags.ids[a:b].tolist()) for a, b in zip(bags.offsets, bags.offsets[1:], strict=False)]


def python_reference(folder: Path):
    """The reference of the tests: the same 64-bit hashes, in plain Python."""
    import reference

    from omnifeat.text import NgramTokenizer

    tokenizer = reference.ReferenceTokenizer([], (0, 0, 0))
    first_id = 0
    tokenizer.ids = []
    for vocabulary in NgramTokenizer.load(folder)._vocabularies:
        tokenizer.ids.append({value: first_id + i for i, value in enumerate(vocabulary.hashes.tolist())})
        first_id += len(vocabulary)
    return lambda part: [tokenizer.encode(text) for text in part.to_pylist()]


def string_vocabulary(folder: Path, kind: str) -> pa.Table:
    return pq.read_table(folder / f"{kind}.parquet")


def python_strings(folder: Path):
    """Plain Python as one would write it for speed: a regular expression, slices, and dictionaries of strings."""
    import reference

    from omnifeat.text.codepoints import CLASS_SHIFT, IGNORED, MARK, SINGLE, WORD, code_point_table

    kinds = code_point_table() >> CLASS_SHIFT & 7

    def ranges(*wanted):
        member = np.concatenate([[False], np.isin(kinds, wanted), [False]])
        edges = np.flatnonzero(np.diff(member.astype(np.int8))).reshape(-1, 2)
        return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b - 1))}" for a, b in edges)

    pattern = re.compile(f"[{ranges(SINGLE)}][{ranges(MARK)}]*|[{ranges(WORD, MARK)}]+")
    ignored = re.compile(f"[{ranges(IGNORED)}]+")
    ids = {k: dict(zip(*(c.to_pylist() for c in string_vocabulary(folder, k).columns), strict=True)) for k in KINDS}
    trigram_ids, word_ids, bigram_ids = (ids[kind] for kind in KINDS)

    def encode(text):
        text = text.lower() if text.isascii() else reference.normal_form(text)
        words = pattern.findall(ignored.sub("", text))
        padded = [START + word + END for word in words]
        found = [trigram_ids.get(word[i : i + 3]) for word in padded for i in range(len(word) - 2)]
        found += map(word_ids.get, words)
        found += [bigram_ids.get(first + " " + second) for first, second in itertools.pairwise(words)]
        return [token for token in found if token is not None]

    return lambda part: [encode(text) for text in part.to_pylist()]


def polars_tokens(polars, part: pa.StringArray):
    """Lazy frames of (row, token) for each kind: the same words by Unicode properties, then shifts."""
    pl = polars
    spaceless = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    single = rf"[[{spaceless}]&&\p{{L}}]|[\p{{S}}--[+<=>^`|~⁄]]"
    pattern = rf"(?:{single})\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[[{spaceless}]&&\p{{L}}]]+"
    text = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[\p{Cf}\x{FE0F}]", "")
    words = (
        pl.LazyFrame({"text": pl.from_arrow(part)})
        .with_row_index("row")
        .select("row", text.str.extract_all(pattern).alias("token"))
        .explode("token")
        .drop_nulls("token")
    )
    bigrams = words.with_columns(
        token=pl.col("token").shift(1) + " " + pl.col("token"),
        same=pl.col("row") == pl.col("row").shift(1),
    ).filter("same")
    letters = words.select("row", (START + pl.col("token") + END).str.extract_all(r"(?s).").alias("token")).explode(
        "token"
    )
    trigrams = letters.with_columns(
        token=pl.concat_str(pl.col("token").shift(1), "token", pl.col("token").shift(-1)),
        inside=~pl.col("token").is_in([START, END]),
    ).filter("inside")
    return {"trigrams": trigrams, "words": words, "bigrams": bigrams.select("row", "token")}


def with_polars(folder: Path, engine: str = "in-memory"):
    """Explode words and letters, join with the vocabularies, ids of a row gathered into a list, in no order."""
    import polars as pl

    vocabularies = {kind: pl.from_arrow(string_vocabulary(folder, kind)).lazy() for kind in KINDS}

    def encode(part):
        frames = polars_tokens(pl, part)
        found = [frames[k].join(vocabularies[k], on="token").select("row", "id") for k in KINDS]
        return pl.concat(found).group_by("row").agg("id").collect(engine=engine)

    return encode


def with_sklearn(folder: Path):
    """Two CountVectorizers: words and bigrams, and `char_wb` trigrams. No NFKC, words by `\\w\\w*` only."""
    from sklearn.feature_extraction.text import CountVectorizer

    words = {}
    for kind in ("words", "bigrams"):
        words.update((token, len(words) + i) for i, token in enumerate(string_vocabulary(folder, kind)[0].to_pylist()))
    trigrams = {
        token.replace(START, " ").replace(END, " ") for token in string_vocabulary(folder, "trigrams")[0].to_pylist()
    }
    vectorizers = (
        CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", vocabulary={t: i for i, t in enumerate(words)}),
        CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), vocabulary={t: i for i, t in enumerate(trigrams)}),
    )

    def encode(part):
        rows = part.to_pylist()
        return [vectorizer.transform(rows) for vectorizer in vectorizers]

    return encode


# label: (function, threads of Polars, share of the rows that it gets)
CONTENDERS = {
    "omnifeat": (ours, 1, 1.0),
    "Python reference (tests)": (python_reference, 1, 0.02),
    "Python strings": (python_strings, 1, 0.05),
    "Polars, 1 thread": (with_polars, 1, 0.2),
    "Polars streaming, 1 thread": (partial(with_polars, engine="streaming"), 1, 0.2),
    "Polars, 2 threads": (with_polars, 2, 0.2),
    "Polars streaming, 2 thr.": (partial(with_polars, engine="streaming"), 2, 0.2),
    "scikit-learn": (with_sklearn, 1, 0.05),
}


def peak_growth(action: Callable[[], object]) -> int:
    """Bytes by which the resident size grows at most while the action runs, looked at every 5 ms."""
    import psutil

    process = psutil.Process()
    before = process.memory_info().rss
    largest = before
    finished = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not finished.wait(0.005):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    action()
    finished.set()
    watcher.join()
    return largest - before


def work(label: str, folder: Path, repeats: int) -> dict:
    """Time one contender in this process."""
    build, _, share = CONTENDERS[label]
    texts = pq.read_table(folder / "texts.parquet")["text"].combine_chunks()
    texts = texts.slice(0, max(1_000, int(len(texts) * share)))
    encode = build(folder)
    batches = [texts.slice(start, BATCH) for start in range(0, len(texts), BATCH)]
    encode(batches[0].slice(0, 500))
    extra = peak_growth(lambda: encode(batches[0]))
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        started, cpu_started = time.perf_counter(), time.process_time()
        for batch in batches:
            encode(batch)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    return {
        "label": label,
        "rows": len(texts),
        "seconds": min(seconds),
        "rows_per_second": len(texts) / min(seconds),
        "rows_per_cpu_second": len(texts) / min(cpu_seconds),
        "extra_mib": extra / 2**20,
        "agree": agreement(label, folder, encode, texts.slice(0, 500)),
    }


def agreement(label: str, folder: Path, encode, texts: pa.StringArray) -> float | None:
    """Share of texts whose bag of ids equals omnifeat's."""
    if label == "scikit-learn":
        return None  # counts over vocabularies of its own
    expected = bags_of_ours(ours(folder)(texts))
    got = encode(texts)
    if label == "omnifeat":
        found = bags_of_ours(got)
    elif label.startswith("Polars"):
        rows = dict(zip(got["row"].to_list(), got["id"].to_list(), strict=True))
        found = [sorted(rows.get(i, [])) for i in range(len(texts))]
    else:
        found = [sorted(ids) for ids in got]
    return sum(a == b for a, b in zip(found, expected, strict=True)) / len(texts)


# ------------------------------------------------------------------------------------------------------ the run


def prepare(folder: Path, rows: int, words: int, seed: int) -> dict:
    """Write texts, the fitted tokenizer and its vocabularies as strings."""
    import polars as pl

    from omnifeat.text import NgramTokenizer

    texts = make_texts(rows, words, seed)
    pq.write_table(pa.table({"text": texts}), folder / "texts.parquet")
    NgramTokenizer.fit([texts.slice(0, 100)])  # compile
    started = time.perf_counter()
    tokenizer = NgramTokenizer.fit([texts.slice(start, BATCH) for start in range(0, rows, BATCH)])
    fit_seconds = time.perf_counter() - started
    tokenizer.save(folder)
    tokens = np.mean(tokenizer.encode(texts.slice(0, BATCH)).lengths)

    distinct: dict[str, pl.DataFrame] = {}
    for start in range(0, rows, BATCH):
        for kind, frame in polars_tokens(pl, texts.slice(start, BATCH)).items():
            new = frame.select("token").unique().collect()
            distinct[kind] = pl.concat([distinct[kind], new]).unique() if kind in distinct else new
    first_id = 0
    for place, (kind, vocabulary) in enumerate(zip(KINDS, tokenizer._vocabularies, strict=True)):
        strings = distinct[kind]["token"]
        hashes = token_hashes(strings.to_arrow().cast(pa.string()), place)
        order = np.argsort(vocabulary.hashes)
        found = np.searchsorted(vocabulary.hashes[order], hashes).clip(max=len(order) - 1)
        known = vocabulary.hashes[order][found] == hashes
        ids = order[found][known] + first_id
        table = pa.table({"token": strings.to_arrow().cast(pa.string()).filter(pa.array(known)), "id": ids})
        pq.write_table(table, folder / f"{kind}.parquet")
        first_id += len(vocabulary)
    return {"fit_seconds": fit_seconds, "sizes": vars(tokenizer.sizes), "tokens_per_text": float(tokens)}


def token_hashes(strings: pa.StringArray, place: int) -> np.ndarray:
    """Hash of each token given as a string: a trigram with its marks, a word, or two words and a blank."""
    if place == 0:
        points = np.frombuffer("".join(strings.to_pylist()).encode("utf-32-le"), np.uint32).reshape(-1, 3)
        points = np.where(points <= ord(END), 0x1FFFFF, points).astype(np.uint64)
        value = points[:, 0] << np.uint64(42) | points[:, 1] << np.uint64(21) | points[:, 2]
        value ^= np.uint64(0x243F6A8885A308D3)
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            value = (value ^ value >> np.uint64(33)) * np.uint64(factor)
        return value ^ value >> np.uint64(33)
    from omnifeat.text.normalise import text_buffers
    from omnifeat.text.tokenizer import _hashed_rows

    hashes = []
    for buffers in text_buffers(strings):
        for block in _hashed_rows(buffers):
            # a string that is cut otherwise here has other counts of tokens; it gets the first, or none
            counts = np.diff(block.row_ends[:, place], prepend=0)
            values = np.zeros(len(counts), np.uint64)
            ends = block.row_ends[:, place]
            values[counts == 1] = block.hashes[place][ends[counts == 1] - 1]
            hashes.append(values)
    return np.concatenate(hashes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="texts in all; the slow ones get a share")
    parser.add_argument("--words", type=int, default=60, help="words of a text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments.worker, arguments.folder, arguments.repeats)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = prepare(folder, arguments.rows, arguments.words, arguments.seed)
        results = []
        for label in arguments.only:
            command = [sys.executable, __file__, "--worker", label, "--folder", name]
            threads = str(CONTENDERS[label][1])
            one = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": threads, "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(
                [*command, "--repeats", str(arguments.repeats)],
                env=os.environ | one,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            results.append(json.loads(done.stdout))
    report(arguments, prepared, results)


def report(arguments: argparse.Namespace, prepared: dict, results: list[dict]) -> None:
    fit_rate = arguments.rows / prepared["fit_seconds"]
    own = next((result for result in results if result["label"] == "omnifeat"), None)
    for result in results:
        for rate, ratio in (("rows_per_second", "faster_by"), ("rows_per_cpu_second", "faster_by_cpu")):
            result[ratio] = own[rate] / result[rate] if own else None
    setting = {"rows": arguments.rows, "words": arguments.words, "seed": arguments.seed, "repeats": arguments.repeats}
    if arguments.json:
        print(json.dumps({"setting": setting, **prepared, "fit_rows_per_second": fit_rate, "results": results}))
        return
    print(f"{setting}, vocabulary {prepared['sizes']}, {prepared['tokens_per_text']:.0f} ids a text")
    print(f"fit of the vocabularies by omnifeat: {fit_rate:,.0f} texts/s")
    print(
        f"{'':26}{'texts':>9}{'texts/s':>10}{'omnifeat':>10}{'per CPU s':>11}{'omnifeat':>10}"
        f"{'more MiB':>10}{'same bags':>11}"
    )
    for result in results:
        agree = "-" if result["agree"] is None else f"{result['agree']:.1%}"
        ratio, cpu_ratio = (f"x {result[name]:.1f}" if own else "-" for name in ("faster_by", "faster_by_cpu"))
        print(
            f"{result['label']:26}{result['rows']:>9,}{result['rows_per_second']:>10,.0f}{ratio:>10}"
            f"{result['rows_per_cpu_second']:>11,.0f}{cpu_ratio:>10}"
            f"{result['extra_mib']:>10,.0f}{agree:>11}"
        )


if __name__ == "__main__":
    main()
