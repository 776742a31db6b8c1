"""From files to shards of codes and back."""
