"""What a dataset lacks, made from what it has: text of entities, vectors of images and graphs, pairs from logs."""
