"""Tokenizers of graphs."""
