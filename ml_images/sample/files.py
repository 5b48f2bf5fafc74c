"""The served folder: which file a path names, its answer kept for the next request, and pages for people."""

import html
import mimetypes
from pathlib import Path
from urllib.parse import quote, unquote

from ml_images.sample.answers import HTML, UNAVAILABLE, Picture, refusal, whole

_LISTED = 1000  # entries on a folder's page
_KEPT_BYTES = 512 << 20


class Files:
    """Reads what lies below `folder`, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._kept: dict[str, tuple[Path, int, int, Picture, bytes]] = {}
        self._kept_bytes = 0

    def find(self, path: str) -> Path | None:
        """The file or folder for a URL path; None when there is none inside the served folder."""
        name = unquote(path).lstrip("/")
        if "\0" in name:
            return None
        if name.endswith(f"/{UNAVAILABLE}"):  # wherever a host keeps it
            name = UNAVAILABLE
        target = (self.folder / name).resolve()
        return target if target.is_relative_to(self.folder) and target.exists() else None

    def answer(self, path: str) -> bytes:
        """The file with its type, a page for a folder, or 404."""
        target = self._known(path) or self.find(path)
        if target is None:
            return refusal(404)
        if target.is_dir():
            return whole(200, _page(target, self.folder), HTML)
        return self._read(path, target)[1]

    def picture(self, path: str) -> Picture | None:
        """The file that a path names; None for folders, too."""
        target = self._known(path) or self.find(path)
        return self._read(path, target)[0] if target is not None and target.is_file() else None

    def _known(self, path: str) -> Path | None:
        """Resolving a path costs more than all the rest; a file that has gone is looked for again."""
        kept = self._kept.get(path)
        return kept[0] if kept and kept[0].exists() else None

    def _read(self, path: str, target: Path) -> tuple[Picture, bytes]:
        status = target.stat()
        kept = self._kept.get(path)
        if kept and kept[1:3] == (status.st_mtime_ns, status.st_size):
            return kept[3:]
        picture = Picture(target.read_bytes(), _content_type(target))
        answer = whole(200, picture.data, picture.content_type)
        if self._kept_bytes + 2 * len(answer) <= _KEPT_BYTES:
            self._kept[path] = (target, status.st_mtime_ns, status.st_size, picture, answer)
            self._kept_bytes += 2 * len(answer)
        return picture, answer


def _content_type(path: Path) -> str:
    return mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"


def _page(folder: Path, root: Path) -> bytes:
    """A folder for a person with a browser: its subfolders as links, its files as thumbnails."""
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name))
    links = []
    for entry in entries[:_LISTED]:
        name, place = html.escape(entry.name), quote(f"/{entry.relative_to(root).as_posix()}")
        shown = f'<img loading="lazy" height="120" alt="{name}" src="{place}">' if entry.is_file() else f"{name}/"
        links.append(f'<a href="{place}" title="{name}">{shown}</a>')
    more = f"<p>and {len(entries) - _LISTED} more</p>" if len(entries) > _LISTED else ""
    title = html.escape(f"{folder.relative_to(root).as_posix()}: {len(entries)} entries")
    return f"<!DOCTYPE html><title>{title}</title><p>{title}</p>{' '.join(links)}{more}\n".encode()
