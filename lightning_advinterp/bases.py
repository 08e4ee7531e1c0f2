"""``python -m lightning_advinterp.bases``: see :mod:`lightning_advinterp.cli.bases`."""

from lightning_advinterp.cli.door import run

if __name__ == "__main__":
    run("bases", "python -m lightning_advinterp.bases")
