"""Search embeddings in one space for queries, pins and products, frozen and reused as features."""

__version__ = "0.1.0"
