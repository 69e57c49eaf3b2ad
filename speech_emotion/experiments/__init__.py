"""The paper's experiments: systems, folds and seeds, compared on the same clips."""
