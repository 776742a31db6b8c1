"""Models over the codes of items: retrieval and recommendation."""
