"""Runs that are interrupted and go on, and states of two parts that become one."""

from lightning_advinterp.analyses import Runner
from lightning_advinterp.data.batch import Batch


def eager_runner(network, data, *, journal, **options):
    """A runner that writes its journal after every batch, so that a power cut loses none that was complete."""
    runner = Runner(network, data, journal=journal, **options)
    runner._journal._every = 0
    return runner


def merge_halves(parts, network, batch, update):
    """Show two parts every second image each, and give both the merged state after each of the two sweeps."""
    shares = [Batch(*(field[rank::2] for field in batch)) for rank in range(2)]
    for part in parts:
        part.bind(network)
    for sweep in range(2):
        for part, share in zip(parts, shares, strict=True):
            update(part, sweep, share)
        states = [part.state_dict() for part in parts]
        for part in parts:
            part.load_state_dict(states[0])
            part.merge(states[1])
            part.settle(sweep)
