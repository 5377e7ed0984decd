"""A small world: what it holds, that the stated rates hold, and that what was planted can be found again."""

import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate
from omnifeat.simulator import rates, simulate
from omnifeat.simulator.lexicon import lexicon

DEVIATIONS = 4.5  # of a share, by which it may be off


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("world") / "small"
    simulate(folder, scale="small", seed=3)
    dataset = Dataset.open(folder)
    truth = {path.stem: pq.read_table(path) for path in (folder / "truth").glob("*.parquet")}
    return SimpleNamespace(folder=folder, dataset=dataset, truth=truth)


def near(hits: np.ndarray, rate: float, slack: float = 0.0) -> None:
    """The share of `hits` is `rate`, within binomial bounds."""
    bound = DEVIATIONS * (rate * (1 - rate) / len(hits)) ** 0.5 + slack
    assert abs(np.mean(hits) - rate) < bound, (np.mean(hits), rate)


def states(table: pa.Table, column: str) -> np.ndarray:
    return np.array(table[column].to_pylist())


def latent(world: SimpleNamespace, kind: str) -> dict[str, np.ndarray]:
    table = world.truth[f"{kind}_latent"]
    return dict(zip(table["id"].to_pylist(), np.array(table["latent"].to_pylist()), strict=True))


def cosines(world: SimpleNamespace, table: pa.Table) -> np.ndarray:
    vectors = {kind: latent(world, kind) for kind in ("pin", "product", "query")}
    rows = zip(*(table[name].to_pylist() for name in ("query", "entity_id", "entity_type")), strict=True)
    return np.array([vectors["query"][query] @ vectors[kind][entity] for query, entity, kind in rows])


def test_no_problems_and_no_leaks(world: SimpleNamespace) -> None:
    assert validate(world.folder, check_leaks=True).problems == []


def test_texts_are_missing_generic_and_wrong_at_the_stated_rates(world: SimpleNamespace) -> None:
    title = {
        "pin": (rates.PIN_TITLE_MISSING, rates.PIN_TITLE_GENERIC, rates.PIN_TITLE_WRONG),
        "product": (rates.PRODUCT_TITLE_MISSING, rates.PRODUCT_TITLE_GENERIC, rates.PRODUCT_TITLE_WRONG),
    }
    description = (rates.DESCRIPTION_MISSING, rates.DESCRIPTION_GENERIC, rates.DESCRIPTION_WRONG)
    for kind in ("pin", "product"):
        table = world.dataset.read(f"{kind}s")
        for column, shares in (("title", title[kind]), ("description", description)):
            found = states(world.truth[f"{kind}_latent"], f"{column}_state")
            for state, share in zip(("missing", "generic", "wrong"), shares, strict=True):
                near(found == state, share)
            np.testing.assert_array_equal(found == "missing", table[column].is_null().to_numpy())
        near(table["caption"].is_null().to_numpy(), rates.CAPTION_MISSING)
    near(world.dataset.read("pins")["image_embedding"].is_null().to_numpy(), rates.IMAGE_MISSING)


def test_normal_titles_name_the_thing_and_wrong_ones_do_not(world: SimpleNamespace) -> None:
    words = lexicon()
    table, truth = world.dataset.read("pins"), world.truth["pin_latent"]
    named: dict[str, list[bool]] = {}
    for title, state, thing in zip(*(
        column.to_pylist() for column in (table["title"], truth["title_state"], truth["thing"])
    ), strict=True):  # fmt: skip
        names = [name for of_locale in words.things[thing].words for name in of_locale]
        named.setdefault(state, []).append(any(name in (title or "").lower() for name in names))
    assert np.mean(named["normal"]) == 1
    assert np.mean(named["wrong"]) < 0.05
    assert np.mean(named["generic"]) < 0.05
    assert not any(named["missing"])


def test_countries_and_languages(world: SimpleNamespace) -> None:
    languages = np.array(world.dataset.read("pins")["language"].to_pylist())
    english = rates.COUNTRY_SHARES[0] + rates.COUNTRY_SHARES[1]
    for language, share in (("en", english), ("fr", rates.COUNTRY_SHARES[2]), ("de", rates.COUNTRY_SHARES[3])):
        near(languages == language, share)
    queries = world.dataset.read("queries").to_pylist()
    assert {row["country"] for row in queries} == set(rates.COUNTRIES)
    assert {row["language"] for row in queries} == {"en", "fr", "de"}
    home = {row["query"]: row["country"] for row in queries}
    log = world.dataset.read("engagements", columns=["query", "country"])
    own = np.array([home[query] for query in log["query"].to_pylist()])
    there = np.array(log["country"].to_pylist())
    shares = dict(zip(rates.COUNTRIES, rates.COUNTRY_SHARES, strict=True))
    expected = rates.ABROAD * np.mean([1 - shares[country] for country in own])
    near(there != own, expected, slack=0.002)  # searches count, and one search may have several engagements


def test_queries_are_of_every_breadth_and_some_are_misspelled(world: SimpleNamespace) -> None:
    truth = world.truth["query_latent"]
    levels = [len(row) for row in world.dataset.read("queries")["interests"].to_pylist()]
    assert set(levels) == {2, 3, 4}
    slips = truth["misspelled"].to_numpy(zero_copy_only=False)
    same = np.array(truth["id"].to_pylist()) == np.array(truth["meant"].to_pylist())
    np.testing.assert_array_equal(slips, ~same)
    # each draw is misspelled at the rate; a slip makes a text new, so among distinct texts there are more
    assert 0.8 * rates.MISSPELLED < slips.mean() < 3 * rates.MISSPELLED
    popularity = truth["popularity"].to_numpy()
    assert popularity[slips].sum() < rates.MISSPELLED
    counts = np.sort(pc.value_counts(world.dataset.read("engagements")["query"]).field("counts").to_numpy())[::-1]
    assert counts[:30].sum() > 0.15 * counts.sum()  # a head
    assert np.median(counts) < 0.02 * counts[0]  # and a tail


def test_boards_have_mixed_breadth_and_noisy_titles(world: SimpleNamespace) -> None:
    truth, titles = world.truth["boards"], world.dataset.read("boards")["title"].to_pylist()
    state = states(truth, "title_state")
    near(state == "generic", rates.BOARD_TITLE_GENERIC)
    near(state == "wrong", rates.BOARD_TITLE_WRONG)
    domain, thing, leaf = (
        truth["topic"].to_numpy() < 0, truth["thing"].to_numpy() >= 0, truth["leaf"].to_numpy() >= 0
    )  # fmt: skip
    near(domain, rates.BOARD_DOMAIN)
    near(leaf, rates.BOARD_LEAF)
    near(thing & ~leaf, rates.BOARD_THING)
    assert any(title == "✨" for title in titles)
    assert all(re.search(r"\S", title) for title in titles)


def test_saves_are_mostly_on_theme_once_each_and_after_the_pin_appeared(world: SimpleNamespace) -> None:
    saves = world.dataset.read("saves").to_pylist()
    assert len({(row["board_id"], row["entity_type"], row["entity_id"]) for row in saves}) == len(saves)
    near(np.array([row["entity_type"] == "product" for row in saves]), rates.SAVED_PRODUCTS, slack=0.03)
    boards = {row["id"]: row for row in world.truth["boards"].to_pylist()}
    off = []
    for kind in ("pin", "product"):
        table = world.truth[f"{kind}_latent"].drop_columns(["latent"]).to_pylist()
        entities = {row["id"]: row for row in table}
        for save in saves:
            if save["entity_type"] == kind:
                board, entity = boards[save["board_id"]], entities[save["entity_id"]]
                off.append(
                    any(board[level] not in (-1, entity[level]) for level in ("domain", "topic", "thing", "leaf"))
                )
                seconds = save["timestamp"].timestamp() - 1_704_067_200
                assert int(seconds) >= entity["born_seconds"]
    # a leaf that few have runs out, and what was saved before is not saved twice: more of the rest is off
    assert rates.SAVE_OFF_THEME - 0.02 < np.mean(off) < 2.5 * rates.SAVE_OFF_THEME


def test_newcomers_appear_and_are_not_seen_before(world: SimpleNamespace) -> None:
    for kind in ("pin", "product"):
        born = world.truth[f"{kind}_latent"]["born_seconds"].to_numpy()
        near(born > 0, rates.NEWCOMERS)
        of = dict(zip(world.truth[f"{kind}_latent"]["id"].to_pylist(), born, strict=True))
        for row in world.dataset.read("impressions").to_pylist():
            if row["entity_type"] == kind:
                assert of[row["entity_id"]] <= row["timestamp"].timestamp() - 1_704_067_200
                assert row["f_age_days"] >= 0


def test_position_bias_and_relevance(world: SimpleNamespace) -> None:
    impressions = world.dataset.read("impressions")
    position = impressions["position"].to_numpy()
    acted = ~impressions["action"].is_null().to_numpy()
    cosine = cosines(world, impressions)
    assert set(position) == set(range(1, rates.SHOWN + 1))
    # among what is about equally relevant, further down is acted on less, as the exponent says
    alike = (cosine > 0.7) & (cosine < 0.9)
    by_position = [acted[alike & (position >= low) & (position < 2 * low)].mean() for low in (1, 2, 4, 8)]
    assert by_position == sorted(by_position, reverse=True)
    ratio = acted[alike & (position >= 8)].mean() / acted[alike & (position == 1)].mean()
    assert ratio == pytest.approx(np.mean([place**-rates.POSITION_EXPONENT for place in range(8, 13)]), abs=0.12)
    # among what is at the same place, the more relevant is acted on more
    deep = (position > 1) & (position < 7)
    edges = np.array([-1, 0.3, 0.5, 0.7, 0.8, 1.01])
    by_cosine = [acted[deep & (cosine >= low) & (cosine < high)].mean() for low, high in pairwise(edges)]
    assert by_cosine == sorted(by_cosine)
    assert by_cosine[-1] > 10 * by_cosine[0]


def test_attractiveness_and_chance_matter_too(world: SimpleNamespace) -> None:
    impressions = world.dataset.read("impressions")
    attractive = {
        identity: value
        for kind in ("pin", "product")
        for identity, value in zip(
            *(world.truth[f"{kind}_latent"][name].to_pylist() for name in ("id", "attractive")), strict=True
        )
    }
    value = np.array([attractive[identity] for identity in impressions["entity_id"].to_pylist()])
    acted, cosine = ~impressions["action"].is_null().to_numpy(), cosines(world, impressions)
    relevant = cosine > 0.75
    assert acted[relevant & (value > 0.7)].mean() > 1.3 * acted[relevant & (value < 0.4)].mean()
    assert 0 < acted[cosine < 0.2].mean() < 0.02


def test_actions_are_of_every_kind_and_stronger_where_wanted(world: SimpleNamespace) -> None:
    log = world.dataset.read("engagements").slice(0, 30_000)
    cosine = cosines(world, log)
    action, kind = (np.array(log[name].to_pylist()) for name in ("action", "entity_type"))
    assert set(action[kind == "query"]) == {"click"}
    assert set(action[kind == "pin"]) == {"click", "save", "long_click"}
    assert set(action[kind == "product"]) == {"click", "save", "long_click", "add_to_cart", "checkout"}
    pins = kind == "pin"
    click = action == "click"
    assert click[pins & (cosine < 0.6)].mean() > 1.3 * click[pins & (cosine > 0.85)].mean()
    saved = action[pins & ~click] == "save"
    near(saved, rates.PIN_SAVE, slack=0.01)


def test_impression_features_are_known_when_the_request_comes(world: SimpleNamespace) -> None:
    log = world.dataset.read("engagements").to_pandas()
    shown = world.dataset.read("impressions").to_pandas()
    for row in shown.iloc[:: len(shown) // 60].itertuples():
        before = (log["entity_id"] == row.entity_id) & (log["timestamp"] < row.timestamp.floor("D"))
        assert row.f_popularity == pytest.approx(np.log1p((before & (log["entity_type"] == row.entity_type)).sum()))
        assert 0 <= row.f_text_match <= 1
    features = shown[[name for name in shown if name.startswith("f_")]]
    assert features.shape[1] == 5
    assert np.isfinite(features.to_numpy()).all()
    assert (features.std() > 0).all()
    assert shown["f_text_match"].corr(shown["action"].notna()) > 0.02
    # what was done with an impression stands in the log
    logged = set(zip(log["query"], log["entity_id"], log["action"], log["timestamp"], strict=True))
    acted = shown[shown["action"].notna()]
    there = [
        key in logged
        for key in zip(acted["query"], acted["entity_id"], acted["action"], acted["timestamp"], strict=True)
    ]
    assert np.mean(there) == 1


def test_judgments_are_the_true_grade_and_noise(world: SimpleNamespace) -> None:
    judgments = world.dataset.read("judgments").to_pandas()
    truth = world.truth["grades"].to_pandas()
    assert (judgments.groupby(["query", "entity_id"])["rater"].nunique() == rates.RATERS_PER_PAIR).all()
    assert len(judgments) == rates.RATERS_PER_PAIR * len(truth)
    assert set(judgments["grade"]) == set(truth["grade"]) == {0, 1, 2, 3, 4}
    thresholds = np.array(rates.GRADE_COSINES)
    np.testing.assert_array_equal(truth["grade"], (truth["cosine"].to_numpy()[:, None] >= thresholds).sum(axis=1))
    both = judgments.merge(truth, on=["query", "entity_id"], suffixes=("", "_true"))
    off = (both["grade"] - both["grade_true"]).to_numpy()
    spread = np.hypot(rates.RATER_NOISE, rates.RATER_BIAS)
    tail = 1 - norm.cdf(0.5 / spread)
    sides = np.where(both["grade_true"].isin((0, 4)), 1, 2)
    expected = np.mean((1 - rates.RATER_SLIP) * sides * tail + rates.RATER_SLIP * 0.8)
    assert np.mean(off != 0) == pytest.approx(expected, abs=0.06)  # nine raters' own bias is drawn too
    assert np.mean(np.abs(off) > 1) < rates.RATER_SLIP + 0.02
    mean = both.groupby("grade_true")["grade"].mean().to_numpy()
    assert (np.diff(mean) > 0.6).all()


def _same_and_other(vectors: dict[str, np.ndarray], group: dict[str, int], seed: int = 0) -> tuple[float, float]:
    """Mean cosine of pairs of one group, and of any two."""
    rng = np.random.default_rng(seed)
    ids = sorted(vectors, key=lambda identity: (group[identity], identity))
    matrix = np.array([vectors[identity] for identity in ids])
    groups = np.array([group[identity] for identity in ids])
    same = groups[1:] == groups[:-1]
    within = np.einsum("nd,nd->n", matrix[1:], matrix[:-1])[same].mean()
    one, other = rng.integers(len(ids), size=(2, 20_000))
    return float(within), float(np.einsum("nd,nd->n", matrix[one], matrix[other])[one != other].mean())


@pytest.mark.parametrize(
    ("kind", "column", "least"),
    [("pin", "pinsage", 0.25), ("pin", "image_embedding", 0.3), ("product", "itemsage", 0.25)],
)
def test_planted_things_are_found_again_in_vectors(
    world: SimpleNamespace, kind: str, column: str, least: float
) -> None:
    table = world.dataset.read(f"{kind}s", columns=["id", column])
    rows = {row["id"]: np.array(row[column]) for row in table.to_pylist() if row[column] is not None}
    truth = world.truth[f"{kind}_latent"]
    thing = dict(zip(truth["id"].to_pylist(), truth["thing"].to_pylist(), strict=True))
    within, between = _same_and_other(rows, thing)
    assert within > between + least, (within, between)
    norms = [np.linalg.norm(vector) for vector in rows.values()]
    np.testing.assert_allclose(norms, 1, atol=1e-4)


def test_graph_vectors_are_no_rotation_of_the_latent_ones(world: SimpleNamespace) -> None:
    """A linear map explains images well and PinSage in part alone: it comes from the graph."""
    table = world.dataset.read("pins", columns=["id", "pinsage"])
    there = ~table["pinsage"].is_null().to_numpy()
    inner = np.array(world.truth["pin_latent"]["latent"].to_pylist())[there]
    outer = np.array([row for row in table["pinsage"].to_pylist() if row is not None])
    fitted = inner @ np.linalg.lstsq(inner, outer, rcond=None)[0]
    explained = 1 - ((outer - fitted) ** 2).sum() / ((outer - outer.mean(axis=0)) ** 2).sum()
    assert 0.02 < explained < 0.8
    # pins without an early save have none
    split = world.dataset.info.split
    saves = world.dataset.read("saves")
    early = saves.filter(pc.equal(split.assign(saves), "train"))
    saved = set(early.filter(pc.equal(early["entity_type"], "pin"))["entity_id"].to_pylist())
    with_vector = {identity for identity, has in zip(table["id"].to_pylist(), there, strict=True) if has}
    assert with_vector <= saved
    assert len(with_vector) > 0.99 * len(saved)


def test_words_alone_miss_much_of_what_is_engaged_with(world: SimpleNamespace) -> None:
    """Other words, other languages, missing and generic titles: engaged pins often share no word with the query."""
    log = world.dataset.read("engagements")
    pins = log.filter(pc.equal(log["entity_type"], "pin"))
    table = world.dataset.read("pins", columns=["id", "title", "description"]).to_pylist()
    texts = {
        row["id"]: set(re.findall(r"\w+", f"{row['title'] or ''} {row['description'] or ''}".lower())) for row in table
    }
    none = [
        not texts[identity] & set(re.findall(r"\w+", query))
        for identity, query in zip(pins["entity_id"].to_pylist(), pins["query"].to_pylist(), strict=True)
    ]
    assert 0.05 < np.mean(none) < 0.5
