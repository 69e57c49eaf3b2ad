"""Systems compared on the same folds: computed, resumed, stored and tabulated."""
