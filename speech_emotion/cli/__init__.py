"""The command `ser`: arguments and printing only."""
