"""Retrieval: token-based scorers, and an index of embeddings."""
