"""One vocabulary for text and every code, and what a language model needs around it."""
