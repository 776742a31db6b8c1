"""Decoding over codes."""
