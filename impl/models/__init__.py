"""Models: what is done with codes, one folder a modality."""
