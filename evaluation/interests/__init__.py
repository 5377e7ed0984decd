"""Section 5.4 of the paper: classifiers of queries by interest, compared level by level with intervals over queries."""
