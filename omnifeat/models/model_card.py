"""The model card of a frozen encoder: `README.md`, for people and for the hub."""

import json
from collections.abc import Mapping
from typing import Any

from omnifeat.models.config import NGRAMS, SCRATCH, EncoderConfig

__all__ = ["model_card"]

_TEMPLATE = """---
library_name: omnifeat
pipeline_tag: sentence-similarity
tags:
- omnifeat
- search
- embeddings
- learning-to-rank
---

# Search encoder

Queries, pins and products in one space of {dim} dimensions. Frozen: its fingerprint is

    {fingerprint}

```python
from omnifeat.frozen import FrozenEncoder

encoder = FrozenEncoder.from_pretrained("path/of/this/folder")
queries = encoder.encode_queries(["red shoes"])     # float32 (1, {dim}), unit length
entities = encoder.encode_entities("pins.parquet")  # float32 (rows, {dim}), unit length
```

## What it reads

- Queries: {query}.
- Text of entities: {text_fields}.
- Vectors of entities: {continuous}.
- Compatible with: {compatibility}.
- Matryoshka prefixes: {matryoshka}.

## Measured

{metrics}

## Data and training

{training}

{recorded}

## Settings

```json
{settings}
```
"""


def model_card(
    config: EncoderConfig,
    fingerprint: str,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    recorded: str | None = None,
) -> str:
    """Markdown with the front matter that the hub reads: what it reads, data, settings, measured recall.

    `recorded` says in words how many training queries and pairs the folder's record holds; None if it has none.
    """
    widths = config.entity.continuous
    prefixes = sorted(config.matryoshka)
    return _TEMPLATE.format(
        dim=config.dim,
        fingerprint=fingerprint,
        query=_query_side(config),
        text_fields=", ".join(config.entity.text_fields) or "none",
        continuous=", ".join(f"{name} ({width})" for name, width in widths.items()) or "none",
        compatibility=", ".join(config.compatibility_widths) or "none",
        matryoshka=", ".join(map(str, prefixes)) or "none",
        metrics=_listing(metrics) or "Nothing was measured when this encoder was saved.",
        training=_listing(training) or "Nothing was noted when this encoder was saved.",
        recorded=(
            "Nothing is recorded of the queries and pairs that it was trained on."
            if recorded is None
            else f"`training_record.safetensors` holds hashes of its training queries and pairs: {recorded}. Whoever "
            "has it can tell whether a query that they think of was among them."
        ),
        settings=json.dumps(config.to_dict(), indent=2, ensure_ascii=False),
    )


def _query_side(config: EncoderConfig) -> str:
    query = config.query
    if query.model == NGRAMS:
        return "the sum of their n-grams, in the table of the entities' n-grams"
    source = "an encoder trained from scratch" if query.model == SCRATCH else f"started from {query.model}"
    return f"{source}, {query.pooling} pooling, at most {query.max_length} word pieces"


def _listing(values: Mapping[str, Any], depth: int = 0) -> str:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"{'  ' * depth}- {key}:")
            lines.append(_listing(value, depth + 1))
        else:
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            lines.append(f"{'  ' * depth}- {key}: {text}")
    return "\n".join(line for line in lines if line)
