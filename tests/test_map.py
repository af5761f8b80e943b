"""The map of the package (`kobert_tf2/README.md`): the rooms and files that it names exist, and no room is missing."""

import re

from paths import ROOT

PACKAGE = ROOT / "kobert_tf2"
TEXT = (PACKAGE / "README.md").read_text(encoding="utf-8")


def test_every_file_that_the_map_names_exists():
    names = {path.name for path in PACKAGE.rglob("*.py")}
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert any((folder / name).exists() for folder in (PACKAGE, ROOT)) or name in names, name


def test_every_room_is_on_the_map():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    for room in rooms:
        assert re.search(rf"\b{room}\b", TEXT), room
