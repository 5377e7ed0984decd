"""Token-based retrieval."""
