"""The paper's tables and comparisons: what serves these only, and no user of the library."""
