"""Puts ``configs/`` into the wheel, as ``lightning_advinterp/configs``; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithConfigurations(build_py):
    """The usual build, and the configurations beside it; an editable installation reads the checkout's."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "lightning_advinterp" / "configs"
            shutil.copytree("configs", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithConfigurations})
