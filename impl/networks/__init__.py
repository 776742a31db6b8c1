"""Encoders, decoders and other parts that no paper owns."""
