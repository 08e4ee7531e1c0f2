"""Whether scores of an image tell attacks and errors, also where the attack knows the score."""
