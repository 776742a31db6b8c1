"""Tokenizers of video."""
