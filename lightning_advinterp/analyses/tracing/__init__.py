"""One prediction, explained: the units that made it, and when and why the network errs."""
