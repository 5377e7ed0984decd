"""A whole study on a dataset that can be worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.recall_study import RecallSettings, recall_studies
from evaluation.study_rows import ROWS
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError, SettingError


def study_of(dataset, encoder, pretrained=None, **changes):
    settings = RecallSettings(**({"split": "all", "ks": (1, 3), "resamples": 50} | changes))
    return recall_studies(dataset, encoder, pretrained, settings)[0]


def test_all_rows_that_the_input_allows(dataset: Dataset, encoder) -> None:
    study = study_of(dataset, encoder, encoder)
    assert list(study.overall.rows) == list(ROWS)
    assert list(study_of(dataset, encoder).overall.rows) == [name for name in ROWS if "pretrained" not in name]
    baselines = study_of(dataset, None).overall.rows
    assert list(baselines) == ["random", "bm25-words", "bm25-trigrams", "tfidf"]
    assert all(row.differences == {} for row in baselines.values())


def test_pairs_are_distinct_and_ranks_are_those_of_a_double_loop(dataset: Dataset, encoder) -> None:
    study = study_of(dataset, encoder)
    assert (study.overall.pairs, study.overall.queries, study.corpus) == (7, 6, 6)
    ids = study.pairs.entity_ids.to_pylist()
    titles = dict(zip(dataset.read("pins")["id"].to_pylist(), dataset.read("pins")["title"].to_pylist(), strict=True))
    positives = {}
    for query, row in zip(study.pairs.pair_queries, study.pairs.pair_positives, strict=True):
        positives.setdefault(study.pairs.queries[query], set()).add(ids[row])
    for rank, query, row in zip(
        study.ranks["learned"], study.pairs.pair_queries, study.pairs.pair_positives, strict=True
    ):
        text, positive = study.pairs.queries[query], ids[row]
        vector = encoder.encode_queries([text])[0]
        scores = {name: float(vector @ encoder.encode_queries([title or ""])[0]) for name, title in titles.items()}
        better = [n for n in ids if n not in positives[text] and (-scores[n], n) < (-scores[positive], positive)]
        assert rank == 1 + len(better)
    hits = (study.ranks["learned"] <= 3).mean()
    assert study.overall.rows["learned"].recall[3].value == pytest.approx(hits)


@pytest.mark.parametrize("references", [None, ("bm25-words",), ("learned", "learned-engaged")])
def test_differences_are_to_each_reference(dataset: Dataset, encoder, references) -> None:
    rows = study_of(dataset, encoder, references=references).overall.rows
    for reference in references or ("learned",):
        assert rows[reference].differences[reference] is None
        for name in set(rows) - {reference}:
            expected = rows[name].recall[1].value - rows[reference].recall[1].value
            assert rows[name].differences[reference].value == pytest.approx(expected)
            assert rows[name].differences[reference].low <= expected + 1e-9


def test_a_reference_that_is_not_measured_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(SettingError, match="no row to compare with 'learned'; choose from random, bm25-words"):
        study_of(dataset, None, references=("learned",))


def test_same_encoder_trained_and_untrained(dataset: Dataset, encoder) -> None:
    study = study_of(dataset, encoder, encoder, pretrained_fields=("title",))
    np.testing.assert_array_equal(study.ranks["pretrained"], study.ranks["learned"])
    np.testing.assert_array_equal(study.ranks["pretrained-engaged"], study.ranks["learned-engaged"])
    np.testing.assert_array_equal(study.ranks["learned+pretrained-engaged"], study.ranks["learned+learned-engaged"])


def test_groups_by_language_overlap(dataset: Dataset, encoder) -> None:
    study = study_of(dataset, encoder, by="language")
    assert study.grouped_by == "queries.languages"
    # en: cats x 2, dogs, shoes, sky; de: cats x 2, katze; "rouge" has no language
    assert {name: (group.pairs, group.queries) for name, group in study.groups.items()} == {"en": (5, 4), "de": (3, 2)}
    assert list(study.groups) == ["en", "de"]
    assert study.overall.pairs == 7
    assert list(study_of(dataset, encoder, by="languages", groups=("de",)).groups) == ["de"]


def test_groups_by_a_column_of_the_engagement(dataset: Dataset, encoder) -> None:
    study = study_of(dataset, encoder, by="country")
    assert study.grouped_by == "engagements.country"
    # (cats, p5) was engaged with in US and in FR
    assert {name: group.pairs for name, group in study.groups.items()} == {"US": 4, "FR": 3, "DE": 1}


def test_actions_and_recorded_split(dataset: Dataset, encoder) -> None:
    assert study_of(dataset, None, actions=("save",)).overall.pairs == 4
    test = split_rows(dataset.read("engagements"), dataset.info.split, "test")
    pairs = set(zip(test["query"].to_pylist(), test["entity_id"].to_pylist(), strict=True))
    assert 0 < len(pairs) < 7  # else the split of this dataset shows nothing
    assert study_of(dataset, None, split="test").overall.pairs == len(pairs)


def test_sampled_corpus_is_not_harder(dataset: Dataset, encoder) -> None:
    whole, sampled = study_of(dataset, encoder), study_of(dataset, encoder, corpus_size=2, seed=3)
    assert sampled.corpus == 2
    assert sampled.overall.pairs == whole.overall.pairs
    for name, ranks in sampled.ranks.items():
        assert (ranks <= 3).all()
        if name != "random" and "bm25" not in name and name != "tfidf":  # token weights depend on what was fitted
            assert (ranks <= whole.ranks[name]).all()


def test_same_seed_same_study(dataset: Dataset, encoder) -> None:
    first, second = study_of(dataset, encoder), study_of(dataset, encoder)
    assert first.overall == second.overall


def test_bad_input(dataset: Dataset, encoder, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no split 'tst'; choose from train, development, test, all"):
        RecallSettings(split="tst")
    with pytest.raises(SettingError, match="no row 'bm25'"):
        RecallSettings(rows=("bm25",))
    with pytest.raises(SettingError, match=r"row 'pretrained' needs a pretrained encoder \(--pretrained\)"):
        study_of(dataset, encoder, rows=("pretrained", "learned"))
    with pytest.raises(SettingError, match="no rows to measure"):
        study_of(dataset, None, rows=())
    with pytest.raises(DataError, match="no engagements with entity_type product"):
        study_of(dataset, encoder, entity_types=("product",))
    with pytest.raises(DataError, match=r"no evaluated pair has .xx. in queries\.languages; --groups may name de, en"):
        study_of(dataset, encoder, by="language", groups=("en", "xx"))
    with pytest.raises(SettingError, match="give --by with --groups"):
        RecallSettings(groups=("en",))
    with pytest.raises(DataError, match="has a column 'planet' to group by; the engagements have action, country"):
        study_of(dataset, encoder, by="planet")
