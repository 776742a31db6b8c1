"""Models of text and sound."""
