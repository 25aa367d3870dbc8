"""The words of generated Python; most of them are single tokens of the bundled model."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES: Final = _words(
    "item value result data name key index total count node state config user path line text"
    " token group table field option record buffer message response current level score first"
    " second left right width height size start limit parent status flag"
)
FIELDS: Final = _words(
    "name value left right width height size parent start limit level score key index count text"
)
WORDS: Final = _words(
    "alpha beta gamma delta hello world error warning done start stop open close left right red"
    " green blue north south first second last empty full input output ready failed"
)
CALLS: Final = _words("print log show warn send write emit display")
FUNCTIONS: Final = _words("load save build parse update check find make read run reset merge")
CLASSES: Final = _words("Node Config Table Record Buffer User Group Reader Writer Parser Token")
READ_STEMS: Final = _words("input source config")
WRITE_STEMS: Final = _words("output result report")
EXTENSIONS: Final = _words("txt csv json")
HANDLES: Final = _words("file handle stream source target line data")
DEFAULTS: Final = ("None", "None", "None", "0", "True", '""')
STRAYS: Final = ("[", "]", "(", "{", '"', "'")
