"""Simulated A/B tests of one encoder in the place of another, place by place in the search stack (Tables 7 and 8)."""
