"""Recall, judged relevance and their intervals."""
