"""Sets of labels: splits, merging, statistics."""
