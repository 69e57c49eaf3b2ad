"""Joins the rooms: training, evaluation and the command line of the speech-emotion library."""
