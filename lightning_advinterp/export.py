"""``python -m lightning_advinterp.export``: see :mod:`lightning_advinterp.cli.export`."""

from lightning_advinterp.cli.export import main

if __name__ == "__main__":
    main()
