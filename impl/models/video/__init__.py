"""Models of video over codes."""
