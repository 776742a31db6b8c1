"""Models of images over codes."""
