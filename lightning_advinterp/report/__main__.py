"""``python -m lightning_advinterp.report FOLDER…``."""

from lightning_advinterp.report.command import main

if __name__ == "__main__":
    main()
