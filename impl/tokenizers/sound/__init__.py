"""Tokenizers of sound."""
