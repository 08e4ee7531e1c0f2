"""Images that drive a unit, side by side."""
