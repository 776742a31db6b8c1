"""The steps from a chapter's source to the notebook that the book shows."""
