"""``python -m lightning_advinterp.adversarial``: see :mod:`lightning_advinterp.cli.adversarial`."""

from lightning_advinterp.cli.adversarial import main

if __name__ == "__main__":
    main()
