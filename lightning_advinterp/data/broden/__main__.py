"""``python -m lightning_advinterp.data.broden check DIR`` (or ``build``, or ``render``)."""

from lightning_advinterp.data.broden.command import main

main()
