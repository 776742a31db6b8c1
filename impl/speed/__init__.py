"""What the quantizers cost against the libraries that a user would pick instead: `python -m impl.speed`."""
