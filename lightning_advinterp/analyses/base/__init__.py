"""What an analysis is, and the runner that answers analyses over data."""
