import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from worlds import write_world

from omnifeat.data.dataset import Dataset, DatasetWriter
from omnifeat.errors import OutputError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import EncoderConfig, preset
from omnifeat.models.encoding import encode_distinct_entities, encode_distinct_queries, encode_queries
from omnifeat.models.omni import build_model
from omnifeat.models.pieces import Pieces
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_table import QueryTable
from omnifeat.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from omnifeat.training.optimizers import learning_rate_factor, make_optimizer
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.prepare import prepare_training_data
from omnifeat.training.run import Progress
from omnifeat.training.settings import TrainSettings, train_preset
from omnifeat.training.tasks import shuffled
from omnifeat.training.trainer import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_world(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pins alone: quicker, for what does not depend on the number of sets."""
    return write_world(tmp_path_factory.mktemp("pins") / "data", products=False)


def tiny(**changes: object) -> TrainSettings:
    return dataclasses.replace(train_preset("tiny"), device="cpu", **changes)  # type: ignore[arg-type]


def with_query(**changes: object) -> EncoderConfig:
    config = preset("tiny")
    return dataclasses.replace(config, query=dataclasses.replace(config.query, **changes))  # type: ignore[arg-type]


def test_training_learns_and_leaves_an_encoder_with_log_and_curve(world: Dataset, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = train(
        world,
        preset("tiny"),
        tiny(epochs=10, patience=None, evaluate_every=20),
        tmp_path / "encoder",
        on_progress=seen.append,
    )
    losses = [point["loss"] for point in result.log.losses]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    # untrained, about ten of 48 pins are among the first ten
    assert result.metrics["development_recall@10_mean"] > 0.7
    assert [at.step for at in seen] == list(range(1, result.steps + 1))
    assert seen[-1].steps == result.steps

    encoder = FrozenEncoder.from_pretrained(result.path)
    assert encoder.fingerprint == result.fingerprint
    assert encoder.metrics == result.metrics
    assert encoder.training["settings"]["batch_size"] == 64
    vectors = encoder.encode_queries(["garden chairs", "red shoes"])
    pins = encoder.encode_entities(
        pa.table({"id": ["a", "b"], "title": ["garden chairs number 1", "red shoes number 0"]}), entity_type="pin"
    )
    assert (np.argmax(vectors @ pins.T, axis=1) == [0, 1]).all()

    log = json.loads((result.run_folder / "training.json").read_text())
    assert [point["loss"] for point in log["losses"]] == losses
    assert log["fingerprint"] == result.fingerprint
    assert (result.run_folder / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((result.run_folder / "tensorboard").iterdir())
    assert latest_checkpoint(result.run_folder) is None
    assert not list(tmp_path.rglob("*partial*"))


def test_the_best_weights_are_restored(pins: Dataset, tmp_path: Path) -> None:
    result = train(pins, preset("tiny"), tiny(steps=9, evaluate_every=3, patience=None), tmp_path / "encoder")
    best = max(result.log.recalls, key=lambda point: (point["mean"], -point["step"]))
    assert result.best_step == best["step"]
    assert result.metrics == {f"development_recall@10_{k}": v for k, v in best.items() if k != "step"}


def test_patience_stops_early(pins: Dataset, tmp_path: Path) -> None:
    # a learning rate this small gains nothing
    settings = tiny(steps=50, learning_rate=1e-9, evaluate_every=2, patience=2)
    result = train(pins, preset("tiny"), settings, tmp_path / "encoder")
    assert result.steps == 4
    assert result.best_step == 0  # as it started: training that adds nothing is not kept


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_resumed_run_equals_one_that_never_stopped(world: Dataset, tmp_path: Path, optimizer: str) -> None:
    settings = tiny(
        steps=7,
        checkpoint_every=2,
        evaluate_every=3,
        patience=None,
        optimizer=optimizer,
        frequency="sketch",
        sketch_width=2**10,
        random_frequency="counted",
        log_every=3,
    )
    whole = train(world, preset("tiny"), settings, tmp_path / "whole")

    def kill(at: Progress) -> None:
        if at.step == 5:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(world, preset("tiny"), settings, tmp_path / "resumed", on_progress=kill)
    assert not (tmp_path / "resumed").exists()
    with pytest.raises(OutputError, match="holds checkpoints of an unfinished run; give --resume"):
        train(world, preset("tiny"), settings, tmp_path / "resumed")
    with pytest.raises(SettingError, match=r"other settings\.batch_size \(64, now 32\)"):
        train(world, preset("tiny"), dataclasses.replace(settings, batch_size=32), tmp_path / "resumed", resume=True)
    other = tmp_path / "other"  # data of the same name, counts and sizes
    shutil.copytree(world.path, other)
    place = other / "engagements.parquet"
    pq.write_table(pq.read_table(place).take(list(range(world.count("engagements")))[::-1]), place)
    with pytest.raises(SettingError, match="other data .the dataset's files hold something else now"):
        train(Dataset.open(other), preset("tiny"), settings, tmp_path / "resumed", resume=True)
    steps: list[int] = []
    resumed = train(
        world, preset("tiny"), settings, tmp_path / "resumed", resume=True, on_progress=lambda at: steps.append(at.step)
    )
    assert steps == [5, 6, 7]  # from the checkpoint of step 4
    assert resumed.log.losses == whole.log.losses
    assert resumed.log.recalls == whole.log.recalls
    assert resumed.fingerprint == whole.fingerprint


def test_the_same_seed_gives_the_same_encoder_and_another_seed_another(pins: Dataset, tmp_path: Path) -> None:
    first, second, third = (
        train(pins, preset("tiny"), tiny(steps=3, seed=seed, evaluate_every=0), tmp_path / name)
        for name, seed in (("first", 5), ("second", 5), ("third", 6))
    )
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != third.fingerprint
    assert first.metrics == {}


def test_the_random_numbers_of_the_caller_are_left_alone(pins: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(pins, preset("tiny"), tiny(steps=2, evaluate_every=0), tmp_path / "encoder")
    assert torch.equal(torch.get_rng_state(), before)


def test_bfloat16_trains(pins: Dataset, tmp_path: Path) -> None:
    result = train(pins, preset("tiny"), tiny(steps=6, mixed_precision="bf16", evaluate_every=6), tmp_path / "encoder")
    assert np.isfinite(result.loss)
    assert "development_recall@10_mean" in result.metrics


def test_without_a_split_all_is_trained_on(tmp_path: Path) -> None:
    dataset = write_world(tmp_path / "data", split=False, products=False)
    result = train(dataset, preset("tiny"), tiny(steps=2), tmp_path / "encoder")
    assert result.metrics == {}
    assert result.log.recalls == []
    assert (result.run_folder / "training_curve.png").exists()


def test_a_loss_that_is_no_number_is_said(pins: Dataset, tmp_path: Path) -> None:
    settings = tiny(steps=50, learning_rate=1e30, clip_norm=None, evaluate_every=0)
    with pytest.raises(SettingError, match=r"is no number any more in step \d+; train with a lower learning rate"):
        train(pins, preset("tiny"), settings, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_what_is_there_is_not_replaced_unasked(pins: Dataset, tmp_path: Path) -> None:
    out, settings = tmp_path / "encoder", tiny(steps=1, evaluate_every=0)
    first = train(pins, preset("tiny"), settings, out)
    for resume in (False, True):
        with pytest.raises(OutputError, match="is there already; give another folder, or --overwrite"):
            train(pins, preset("tiny"), settings, out, resume=resume)
    again = train(pins, preset("tiny"), tiny(steps=1, seed=9, evaluate_every=0), out, overwrite=True)
    assert FrozenEncoder.from_pretrained(out).fingerprint == again.fingerprint != first.fingerprint

    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.png").write_bytes(b"cat")
    with pytest.raises(OutputError, match="is there and is no encoder folder"):
        train(pins, preset("tiny"), settings, precious, overwrite=True)
    assert (precious / "cat.png").read_bytes() == b"cat"


def test_a_target_below_a_file_is_refused_at_once(pins: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        train(pins, preset("tiny"), tiny(), tmp_path / "file" / "encoder")


def test_held_out_queries_are_in_no_pair_and_no_suggestion(world: Dataset) -> None:
    data = prepare_training_data(world, preset("tiny"))
    split = world.info.split
    assert split is not None
    parts = split.assign(pa.table({"query": data.catalogue.queries, "timestamp": [None] * len(data.catalogue.queries)}))
    assert set(parts.to_pylist()) == {"train"}
    assert {pairs.name for pairs in data.pair_sets} == {"pins", "products", "products_offsite", "queries"}
    assert set(data.vectors) == {("pin", "pinsage"), ("product", "itemsage")}


def test_entities_without_an_existing_embedding_are_left_out_of_its_task(world: Dataset) -> None:
    data = prepare_training_data(world, preset("tiny"))
    task = next(task for task in data.tasks if task.name == "pins/pinsage")
    present = data.present(task)
    assert present is not None
    np.testing.assert_array_equal(present, np.arange(48) % 5 != 0)
    assert data.negatives_catalogue(task) == present.sum()


def test_vectors_of_the_users_own_are_used_when_the_settings_name_them(tmp_path: Path) -> None:
    plain = write_world(tmp_path / "plain", products=False)
    pins = plain.read("pins")
    own = pa.array([[float(row), 1.0, 0.0] for row in range(len(pins))], pa.list_(pa.float32(), 3))
    with DatasetWriter(tmp_path / "world", plain.info) as writer:
        writer.write("pins", pins.append_column("title_vector", own))
        writer.write("engagements", plain.read("engagements"))
    config = preset("tiny")
    entity = dataclasses.replace(config.entity, continuous={"title_vector": 3})
    config = dataclasses.replace(config, entity=entity, compatibility=("title_vector",))
    data = prepare_training_data(Dataset.open(tmp_path / "world"), config)
    assert data.config.compatibility_widths == {"title_vector": 3}
    assert [task.name for task in data.tasks] == ["pins/entity", "pins/title_vector"]
    np.testing.assert_array_equal(data.vectors["pin", "title_vector"].values, np.array(own.to_pylist()))


def test_only_chosen_tasks_are_trained(world: Dataset, tmp_path: Path) -> None:
    """The baseline of section 4.3.1: queries against existing embeddings alone, and no query-query pairs."""
    settings = tiny(epochs=10, tasks=("*/pinsage", "*/itemsage"), patience=None)
    result = train(world, preset("tiny"), settings, tmp_path / "searchsage")
    losses = result.log.losses
    assert set(losses[0]["tasks"]) == {"pins/pinsage", "products/itemsage", "products_offsite/itemsage"}
    assert np.mean([p["loss"] for p in losses[-5:]]) < 0.8 * np.mean([p["loss"] for p in losses[:5]])
    # measured by the embeddings that were trained against; one in five pins has none
    assert result.metrics["development_recall@10_pins"] > 0.4  # by chance about 0.2
    untrained = train(world, preset("tiny"), dataclasses.replace(settings, steps=1), tmp_path / "other").model
    before, after = untrained.state_dict(), result.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("query.") for name in moved)
    # queries are read with the entities' table of n-grams, and nothing else of the entity side learns
    assert {name for name in moved if name.startswith("entity.")} == {"entity.text.table", "entity.text.importance"}
    with pytest.raises(
        SettingError, match=r"names 'pin/\*', but the tasks of this dataset are pins/entity, pins/pinsage"
    ):
        train(world, preset("tiny"), tiny(tasks=("pin/*",)), tmp_path / "no")


def test_vocabularies_do_not_depend_on_the_tasks(world: Dataset) -> None:
    everything, some = (prepare_training_data(world, preset("tiny"), tasks) for tasks in (None, ("queries/*",)))
    assert [pairs.name for pairs in some.pair_sets] == ["queries"]
    assert [pairs.name for pairs in some.development_pair_sets] == ["queries"]
    assert some.ngram_tokenizer.fingerprint() == everything.ngram_tokenizer.fingerprint()
    assert some.catalogue.queries.equals(everything.catalogue.queries)


def test_shuffled_pairs_teach_nothing(world: Dataset, tmp_path: Path) -> None:
    settings = tiny(epochs=10, patience=None, evaluate_every=0)
    losses = {
        shuffle: train(
            world, preset("tiny"), dataclasses.replace(settings, shuffled_pairs=shuffle), tmp_path / str(shuffle)
        ).loss
        for shuffle in (False, True)
    }
    assert losses[True] > 1.3 * losses[False]


def test_shuffled_pairs_are_the_same_queries_and_entities(world: Dataset) -> None:
    (pairs, *_) = prepare_training_data(world, preset("tiny")).pair_sets
    dealt = shuffled(pairs, seed=0)
    assert (dealt.queries == pairs.queries).all()
    assert (np.sort(dealt.entities) == np.sort(pairs.entities)).all()
    assert (dealt.entities != pairs.entities).mean() > 0.8
    assert (shuffled(pairs, seed=0).entities == dealt.entities).all()


def test_query_batches_equal_the_tokenizer(world: Dataset) -> None:
    data = prepare_training_data(world, with_query(model="scratch"))
    texts = ["red shoes", "a much longer query about garden chairs", "", "cake"]
    assert data.query_tokenizer is not None
    table = Pieces.prepare(texts, data.query_tokenizer)
    rows = np.array([1, 3, 0, 1])
    expected = data.query_tokenizer([texts[row] for row in rows])
    input_ids, mask = table.padded(rows)
    torch.testing.assert_close(input_ids, expected["input_ids"])
    torch.testing.assert_close(mask, expected["attention_mask"])


@pytest.mark.parametrize("query_model", ["ngrams", "scratch"])
def test_distinct_rows_are_encoded_once_and_stand_where_they_were_asked_for(world: Dataset, query_model: str) -> None:
    data = prepare_training_data(world, with_query(model=query_model))
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size).eval()
    rows = np.array([4, 0, 4, 7, 0])
    sizes: list[int] = []
    model.query.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    model.entity.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        vectors = encode_distinct_queries(model, data.queries, rows, CPU)
        assert sizes == [3]
        one_by_one = torch.cat([encode_queries(model, data.queries, rows[i : i + 1], CPU) for i in range(len(rows))])
        torch.testing.assert_close(vectors, one_by_one)

        table = data.entities["pin"]
        exclude = np.array([0, -1, 1, -1, -1])  # entity 4 without one and without the other engaged query
        sizes.clear()
        vectors = encode_distinct_entities(model, table, rows, exclude, CPU)
        assert sizes == [4]
        for row, (entity, query) in enumerate(zip(rows, exclude, strict=True)):
            torch.testing.assert_close(
                vectors[row], model.entity(table.inputs(np.array([entity]), np.array([query])))[0]
            )


def test_a_pair_does_not_see_its_own_query_among_the_engaged_ones(world: Dataset) -> None:
    data = prepare_training_data(world, preset("tiny"))
    table, queries = data.entities["pin"], data.catalogue.queries.to_pylist()
    # pin0's engaged queries are "red shoes ideas" and "red shoes cheap"
    engaged = [q for q in ("red shoes ideas", "red shoes cheap") if q in queries]
    assert engaged  # at least one is in the train part
    index = data.exclude_query["pin"][queries.index(engaged[0])]
    assert table.engaged_query_texts[int(index)].as_py() == engaged[0]
    with_all, without = table.inputs(np.array([0])), table.inputs(np.array([0]), np.array([index]))
    assert len(without.ids) < len(with_all.ids)
    # a query that is engaged with nothing excludes nothing
    assert (data.exclude_query["pin"] >= -1).all()
    assert data.exclude_query["pin"][queries.index(next(q for q in queries if q.endswith("old")))] == -1


def test_a_frozen_transformer_runs_once_and_gives_the_same_vectors(pins: Dataset, tmp_path: Path) -> None:
    config = with_query(model="scratch", trainable_layers=0)
    data = prepare_training_data(pins, config)
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size).eval()
    rows = np.arange(len(data.queries))[::-1].copy()
    pooled = data.queries.with_pooled(model.query, CPU)
    with torch.no_grad():
        torch.testing.assert_close(
            encode_distinct_queries(model, pooled, rows, CPU), encode_distinct_queries(model, data.queries, rows, CPU)
        )
    result = train(pins, config, tiny(steps=5, evaluate_every=0), tmp_path / "encoder")
    trained = result.model.query.backbone.state_dict()
    start = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size, seed=0)
    for name, weight in start.query.backbone.state_dict().items():
        assert torch.equal(weight, trained[name]), name
    assert not torch.equal(start.query.projection.weight, result.model.query.projection.weight)


def test_trainings_share_the_outputs_of_a_frozen_transformer(
    pins: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, kept = with_query(model="scratch", trainable_layers=0), PooledOutputs(tmp_path / "kept")
    alone = train(pins, config, tiny(steps=3), tmp_path / "alone")
    runs: list[int] = []
    pool = QueryEncoder.pool
    monkeypatch.setattr(QueryEncoder, "pool", lambda *given: runs.append(len(given[1])) or pool(*given))
    first = train(pins, config, tiny(steps=3), tmp_path / "first", pooled=kept)
    assert runs
    assert first.fingerprint == alone.fingerprint
    runs.clear()
    second = train(pins, config, tiny(steps=3), tmp_path / "second", pooled=kept)
    assert second.fingerprint == alone.fingerprint
    assert not runs
    # other weights, or other queries, are never taken for the same
    data = prepare_training_data(pins, config)
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size, seed=0)
    kept.of(data.queries, model.query, CPU)
    assert not runs
    kept.of(QueryTable.prepare(["red shoes"], data.ngram_tokenizer, data.query_tokenizer), model.query, CPU)
    assert runs == [1]
    with torch.no_grad():
        next(model.query.backbone.parameters()).add_(1)
    kept.of(data.queries, model.query, CPU)
    assert sum(runs) == 1 + len(data.queries)


def test_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(1.0)
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5)  # half way from 10 to 100
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    # a warm-up longer than a tenth of the run is cut to it
    assert learning_rate_factor(4, 50, 1_000) == pytest.approx(1.0)
    assert learning_rate_factor(0, 1, 1_000) == pytest.approx(1.0)


def test_a_pretrained_transformer_has_its_own_rate_and_gains_do_not_decay(world: Dataset) -> None:
    data = prepare_training_data(world, with_query(model="scratch"))
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size)
    settings = tiny(learning_rate=1e-3, query_learning_rate=1e-5)
    assert {group["peak"] for group in make_optimizer(model, settings).param_groups} == {1e-3}  # from scratch
    model.config = with_query(model="some-pretrained-encoder")
    rate_of = {
        id(p): (group["peak"], group["weight_decay"])
        for group in make_optimizer(model, settings).param_groups
        for p in group["params"]
    }
    assert {rate_of[id(p)][0] for p in model.query.backbone.parameters()} == {1e-5}
    assert {rate_of[id(p)][0] for p in model.entity.parameters()} == {1e-3}
    assert rate_of[id(model.query.projection.weight)] == (1e-3, 0.01)
    assert rate_of[id(model.query.projection.bias)] == (1e-3, 0.0)
    assert rate_of[id(model.log_temperature)] == (1e-3, 0.0)
    model.config = with_query(model="some-pretrained-encoder", projection="identity-init")
    groups = make_optimizer(model, settings).param_groups
    (of_projection,) = [g["peak"] for g in groups for p in g["params"] if p is model.query.projection.weight]
    assert of_projection == 1e-5  # a part of the pretrained encoder
    assert len(rate_of) == len(list(model.parameters()))


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, {"value": torch.tensor(step)})
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000010.pt",
        "step-00000015.pt",
    ]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert load_checkpoint(newest)["value"] == 15
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(SettingError, match=r"step-00000015\.pt' cannot be read"):
        load_checkpoint(newest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "'batch_size' setting must be at least 1. Got 0"),
        ({"learning_rate": 0.0}, "'learning_rate' setting must be above 0"),
        ({"optimizer": "sgd"}, "'optimizer' setting must be one of 'adamw', 'lamb'. Got 'sgd'"),
        ({"sketch_width": 1000}, "'sketch_width' setting must be a power of two"),
        ({"pair_weights": {"pins": 0}}, "'pair_weights' setting must be above 0 for every set. Got 0 for pins"),
        ({"patience": 0}, "'patience' setting must be at least 1"),
    ],
)
def test_wrong_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        TrainSettings(**change)  # type: ignore[arg-type]
