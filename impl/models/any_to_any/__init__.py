"""Models of text, images and sound in one sequence: any given, any answered."""
