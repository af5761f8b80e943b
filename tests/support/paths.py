"""Where the project lies: its tools and configurations are run from there."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
