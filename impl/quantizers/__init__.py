"""Quantizers: latents to codes and back (`base` holds the contract)."""
