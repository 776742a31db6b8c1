"""Small, real, tested PyTorch implementations of discrete tokenizers."""
