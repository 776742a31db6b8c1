"""Tokenizers of items: what a catalogue of things to recommend is made of."""
