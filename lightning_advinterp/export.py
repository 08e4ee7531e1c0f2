"""``python -m lightning_advinterp.export``: see :mod:`lightning_advinterp.cli.export`."""

from lightning_advinterp.cli.door import run

if __name__ == "__main__":
    run("export", "python -m lightning_advinterp.export")
