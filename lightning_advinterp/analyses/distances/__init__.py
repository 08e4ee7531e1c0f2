"""Whether adversarial images lie nearer their source's or their target's class."""
