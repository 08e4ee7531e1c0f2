"""Architectures of RobustBench's model zoo, with the names that its weights have."""
