"""Which training images a prediction rests on."""
