"""The schedule of Square's squares, row by row as its authors list it (Andriushchenko et al., Croce & Hein 2020)."""

LAST_PROPOSALS = {10: 1, 50: 2, 200: 4, 500: 8, 1000: 16, 2000: 32, 4000: 64, 6000: 128, 8000: 256}
"""Up to and including this proposal, p is p_init divided by that; by 512 after the last."""


def p_selection(it, n_queries, p_init=0.8, rescale_schedule=False):
    """Return the square's share of the image at proposal ``it``; AutoAttack's standard version does not rescale."""
    if rescale_schedule:
        it = int(it / n_queries * 10000)
    for last, divisor in LAST_PROPOSALS.items():
        if it <= last:
            return p_init / divisor
    return p_init / 512
