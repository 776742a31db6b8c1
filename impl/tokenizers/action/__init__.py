"""Tokenizers of actions."""
