"""The pictures that a run left in its folder, as Python's users get them. No torch.

gallery_of(folder)["confusion_matrix"]      # shown where it is a notebook cell's value
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from modelflow.errors import DataError
from modelflow.io.faces import html
from modelflow.io.files import read_bounded
from modelflow.report.images import MAX_PNG_BYTES, PNG_SIGNATURE
from modelflow.results import layout
from modelflow.results.contents import caption_of
from modelflow.text import counted, ended, one_line, sentence, shown

HEADER = struct.Struct(">8s4x4sII")  # of a PNG: its signature, its first chunk's name, width and height
OF_TABLES = {  # of those whose caption elsewhere is that they show a table
    layout.LOSSES: "losses over the epochs",
    layout.CONFUSION_PNG: "true class by predicted class",
    layout.LR_FINDER_PNG: "learning rate range test",
}


@dataclass(frozen=True)
class StoredPicture:
    """A picture of a run's folder, by its `path`; `caption` says what it shows."""

    path: Path
    caption: str
    content: bytes = field(repr=False)

    @property
    def size(self) -> dict[str, int]:
        """Width and height on a screen, in pixels."""
        from modelflow.figures.style import DPI, SCREEN_DPI

        *_, width, height = HEADER.unpack_from(self.content)
        return {"width": round(width * SCREEN_DPI / DPI), "height": round(height * SCREEN_DPI / DPI)}

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.content, self.size


class Gallery(dict[str, StoredPicture]):
    """Pictures by the names of their files, without the ending."""

    def __repr__(self) -> str:
        return f"{counted(len(self), 'picture')}: {', '.join(self)}"

    def _repr_html_(self) -> str:
        return html.block(
            *(
                html.picture(one.content, "image/png", one.caption, one.size["width"], one.caption)
                for one in self.values()
            )
        )


def gallery_of(folder: Path) -> Gallery:
    """The pictures in the folder of a run. Raises `DataError` for one that is damaged, or no file of the folder's."""
    return Gallery({path.stem: _read(path) for path in sorted(folder.glob("*.png"))})


def _read(path: Path) -> StoredPicture:
    try:
        content = read_bounded(path, MAX_PNG_BYTES, links=False)
        if len(content) < HEADER.size or not content.startswith(PNG_SIGNATURE):
            raise ValueError("is no PNG")
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"{one_line(path)}: {ended(error)} Evaluate the run again, or remove the file.") from None
    return StoredPicture(path, _caption(path), content)


def _caption(path: Path) -> str:
    if path.stem.startswith("filters_"):
        return f"Filters of {shown(path.stem.removeprefix('filters_'))}"
    return sentence(OF_TABLES.get(path.name) or caption_of(path.name) or shown(path.stem))
