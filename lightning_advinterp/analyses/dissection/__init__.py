"""Which concepts units detect, on real and on attacked images."""
