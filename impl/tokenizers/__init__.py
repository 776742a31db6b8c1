"""Tokenizers: samples to codes and back, one folder per modality."""
