"""Data: one loader per modality, embedded or from released files on disk."""
