"""What is done with the codes of a graph's entities."""
