"""The project's root folder, from which its tools and configurations are run."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
