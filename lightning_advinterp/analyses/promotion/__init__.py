"""Why an attack works, pixel by pixel: promotion of the target and suppression of the true class."""
