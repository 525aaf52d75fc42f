"""The one build step that pyproject.toml cannot name: the man page, made from the parser at build time.

An isolated build has the sources neither on its path nor their dependencies installed, so `cli.parser`
imports nothing but the standard library and the light modules of `loader` (a test holds it to that).
"""

import os
import sys
from pathlib import Path

from build_manpages.build_manpages import build_manpages, get_build_py_cmd
from setuptools import Distribution, setup

sys.path.insert(0, str(Path(__file__).resolve().parent))

# argparse wraps at the width of the terminal. groff fills the lines itself, and a line that happens to
# be wrapped before a word in quotes or with a leading dot would be taken for a request and vanish.
os.environ["COLUMNS"] = "100000"


class WithData(Distribution):
    """Lets an editable install have the page too: setuptools asks for this name and defines another."""

    def has_data(self) -> bool:
        return bool(self.has_data_files())


setup(
    distclass=WithData,
    cmdclass={"build_manpages": build_manpages, "build_py": get_build_py_cmd()},
)
