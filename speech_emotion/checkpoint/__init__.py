"""The model that comes along: trained on several corpora at once, with sounds without speech, and measured."""
