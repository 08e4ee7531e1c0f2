"""``python -m lightning_advinterp.adversarial``: see :mod:`lightning_advinterp.cli.adversarial`."""

from lightning_advinterp.cli.door import run

if __name__ == "__main__":
    run("adversarial", "python -m lightning_advinterp.adversarial")
