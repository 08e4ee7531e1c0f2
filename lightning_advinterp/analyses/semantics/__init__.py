"""Whether the classes that drive a unit stay the same: LC, CS1, CS2."""
