"""``python -m lightning_advinterp.bases``: see :mod:`lightning_advinterp.cli.bases`."""

from lightning_advinterp.cli.bases import main

if __name__ == "__main__":
    main()
