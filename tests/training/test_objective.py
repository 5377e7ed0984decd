import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import write_world

from omnifeat.models.config import preset
from omnifeat.models.encoding import encode_queries
from omnifeat.models.omni import OmniModel, build_model
from omnifeat.models.query_table import QueryTable
from omnifeat.training.batches import BatchSampler, PairBatch
from omnifeat.training.correction import IN_BATCH, RANDOM, Corrections, TaskRows
from omnifeat.training.loss import negative_masks, sampled_softmax_loss_dense
from omnifeat.training.objective import Objective
from omnifeat.training.prepare import TrainingData, prepare_training_data
from omnifeat.training.settings import TrainSettings
from omnifeat.training.tasks import PairSet, Task

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["ngrams", "scratch"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    tiny = preset("tiny")
    config = dataclasses.replace(tiny, query=dataclasses.replace(tiny.query, model=request.param))
    return prepare_training_data(write_world(tmp_path_factory.mktemp("world") / "data"), config)


@pytest.fixture(scope="module")
def model(data: TrainingData) -> OmniModel:
    return build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size, seed=2).eval()


def corrections(data: TrainingData, **changes: object) -> Corrections:
    return Corrections(
        data.tasks,
        {task.name: data.present(task) for task in data.tasks},
        {task.name: data.negatives_catalogue(task) for task in data.tasks},
        TrainSettings(**changes),  # type: ignore[arg-type]
    )


def batch(data: TrainingData, step: int = 0, negatives: int = 2) -> list[PairBatch]:
    sizes = {pairs.entity_type: data.catalogue.size(pairs.entity_type) for pairs in data.pair_sets}
    return BatchSampler(data.pair_sets, sizes, batch_size=40, weights={}, random_negatives=negatives, seed=4).batch(
        step
    )


def plain_task_loss(model: OmniModel, data: TrainingData, task: Task, part: PairBatch, rows: TaskRows) -> float:
    """Mean loss of a task, put together entity by entity with the dense loss."""
    kind = part.pairs.entity_type

    def encode(entity: int, query: int) -> torch.Tensor:
        if task.encoder == "query":
            return encode_queries(model, data.queries, np.array([entity]), CPU)[0]
        if task.encoder == "entity":
            table = data.entities[kind]
            exclude = -1 if query < 0 else int(data.exclude_query[kind][query])
            return model.entity(table.inputs(np.array([entity]), np.array([exclude])))[0]
        column = data.vectors[kind, task.encoder]
        return model.compatibility[task.encoder](torch.from_numpy(column.rows(np.array([entity]))))[0]

    with torch.no_grad():
        queries = torch.stack([encode_queries(model, data.queries, part.queries[[i]], CPU)[0] for i in rows.pairs])
        positives = torch.stack([encode(int(part.entities[i]), int(part.queries[i])) for i in rows.pairs])
        negatives = torch.stack([encode(int(part.negatives[i]), -1) for i in rows.negatives])
        query_ids, positive_ids = (torch.from_numpy(ids[rows.pairs]) for ids in (part.queries, part.entities))
        total = 0.0
        for source, vectors, ids in (
            (IN_BATCH, positives, positive_ids),
            (RANDOM, negatives, torch.from_numpy(part.negatives[rows.negatives])),
        ):
            masked_rows, masked_columns = negative_masks(query_ids, positive_ids, ids)
            total += float(
                sampled_softmax_loss_dense(
                    queries,
                    positives,
                    vectors,
                    log_q_positive_B=torch.from_numpy(rows.log_q_positive[source]),
                    log_q_negative_N=torch.from_numpy(rows.log_q_negative[source]),
                    masked_rows=masked_rows,
                    masked_columns=masked_columns,
                    scale=model.scale(),
                )
            )
    return total


def test_every_task_equals_the_dense_loss_and_the_total_follows_the_composition(
    data: TrainingData, model: OmniModel
) -> None:
    parts = batch(data)
    rows = corrections(data, random_frequency="counted").observe(parts)
    with torch.no_grad():
        total, by_task = Objective(model, data, block_rows=7)(parts, rows)
    part_of = {part.pairs.name: part for part in parts}
    expected = 0.0
    for task, loss in zip(data.tasks, by_task.tolist(), strict=True):
        plain = plain_task_loss(model, data, task, part_of[task.pairs], rows[task.name])
        assert loss == pytest.approx(plain, rel=1e-4), task.name
        expected += plain * len(rows[task.name].pairs) / 40
    assert float(total) == pytest.approx(expected, rel=1e-4)


def test_no_random_negatives_leaves_the_in_batch_loss(data: TrainingData, model: OmniModel) -> None:
    with_both, without = batch(data), batch(data, negatives=0)
    objective = Objective(model, data, block_rows=7)
    with torch.no_grad():
        both, _ = objective(with_both, corrections(data).observe(with_both))
        one, _ = objective(without, corrections(data).observe(without))
    assert 0 < float(one) < float(both)


def test_every_weight_that_should_learns(data: TrainingData) -> None:
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size, seed=2)
    parts = batch(data)
    total, _ = Objective(model, data, block_rows=64)(parts, corrections(data).observe(parts))
    total.backward()  # type: ignore[no-untyped-call]
    later = _behind_a_layer_of_zeros(model)
    for name, parameter in model.named_parameters():
        if name in later:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def _behind_a_layer_of_zeros(model: OmniModel) -> set[str]:
    """Weights whose gradients are zero in the first step, for the layer after them starts at zero."""
    found = set()
    for side in ("entity", "query"):
        mlp = getattr(getattr(model, side), "mlp", None)
        if mlp is not None and not mlp[-1].weight.any():
            found |= {
                f"{side}.mlp.{name}" for name, _ in mlp.named_parameters() if not name.startswith(f"{len(mlp) - 1}.")
            }
    return found


PINS = PairSet("pins", "pin", np.arange(4), np.arange(4))


def test_corrections_count_each_task_and_source_by_itself() -> None:
    present = np.array([True, False, True, True])
    entity, pinsage = Task("pins", "entity"), Task("pins", "pinsage")
    found = Corrections(
        [entity, pinsage],
        {entity.name: None, pinsage.name: present},
        {entity.name: 4, pinsage.name: 3},
        TrainSettings(random_frequency="counted"),
    )
    part = PairBatch(PINS, np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2]), np.array([1, 2, 3]))
    rows = found.observe([part])
    # in batch: entity 0 twice of four, 1 and 2 once; random: 1, 2 and 3 once of three, 0 not drawn counts as once
    every = rows["pins/entity"]
    np.testing.assert_allclose(np.exp(every.log_q_positive[IN_BATCH]), [0.5, 0.5, 0.25, 0.25], rtol=1e-6)
    np.testing.assert_allclose(every.log_q_negative[IN_BATCH], every.log_q_positive[IN_BATCH])
    np.testing.assert_allclose(np.exp(every.log_q_positive[RANDOM]), [1 / 3] * 4, rtol=1e-6)
    np.testing.assert_allclose(np.exp(every.log_q_negative[RANDOM]), [1 / 3] * 3, rtol=1e-6)
    # PinSage: entity 1 has none, so its pair and its draw are not there: 0 twice of three, 2 once; random 2 and 3
    some = rows["pins/pinsage"]
    np.testing.assert_array_equal(some.pairs, [0, 1, 3])
    np.testing.assert_array_equal(some.negatives, [1, 2])
    np.testing.assert_allclose(np.exp(some.log_q_positive[IN_BATCH]), [2 / 3, 2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(np.exp(some.log_q_negative[RANDOM]), [0.5, 0.5], rtol=1e-6)


def test_known_frequencies_of_random_negatives_are_uniform() -> None:
    task = Task("pins", "entity")
    found = Corrections([task], {task.name: None}, {task.name: 4}, TrainSettings())
    part = PairBatch(PINS, np.array([0, 1]), np.array([0, 0]), np.array([1, 2]))
    rows = found.observe([part])[task.name]
    np.testing.assert_allclose(np.exp(rows.log_q_positive[RANDOM]), [0.25] * 2, rtol=1e-6)
    np.testing.assert_allclose(np.exp(rows.log_q_negative[RANDOM]), [0.25] * 2, rtol=1e-6)


def test_development_recall_equals_a_double_loop(data: TrainingData, model: OmniModel, tmp_path: Path) -> None:
    from omnifeat.training.development import prepare_development_set

    development = prepare_development_set(data, max_pairs=1_000, max_corpus=1_000, seed=0)
    assert development is not None
    recall = development.recall_at_10(model, torch.device("cpu"))
    catalogue = data.development_catalogue
    pins = next(pairs for pairs in data.development_pair_sets if pairs.name == "pins")
    with torch.no_grad():
        vectors = model.entity(data.entities["pin"].inputs(np.arange(48)))
        hits = []
        for query, positive in zip(pins.queries, pins.entities, strict=True):
            texts = [catalogue.queries[int(query)].as_py()]
            asked = QueryTable.prepare(texts, data.ngram_tokenizer, data.query_tokenizer)
            scores = (encode_queries(model, asked, np.array([0]), CPU)[0] @ vectors.T).tolist()
            others = set(pins.entities[pins.queries == query].tolist())
            better = sum(s > scores[positive] for entity, s in enumerate(scores) if entity not in others)
            hits.append(better < 10)
    assert recall["pins"] == pytest.approx(np.mean(hits))
    sets = [name for name in recall if name != "mean"]
    assert recall["mean"] == pytest.approx(np.mean([recall[name] for name in sets]))

    capped = prepare_development_set(data, max_pairs=5, max_corpus=12, seed=0)
    assert capped is not None
    assert 12 <= len(capped.corpora["pin"]) <= 17  # twelve at random, and the positives of five pairs
    assert all(0 <= value <= 1 for value in capped.recall_at_10(model, torch.device("cpu")).values())


def test_measuring_leaves_the_number_of_threads_alone(data: TrainingData, model: OmniModel) -> None:
    from omnifeat.training.development import prepare_development_set

    development = prepare_development_set(data, max_pairs=10, max_corpus=100, seed=0)
    assert development is not None
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            development.recall_at_10(model, torch.device("cpu"))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
