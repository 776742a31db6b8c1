"""Losses that no paper owns."""
