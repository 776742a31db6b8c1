"""Models of text and images."""
