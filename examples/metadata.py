"""Metadata extraction: one call for each file of a directory (the use that funcX's Xtract has).

    python examples/metadata.py [DIRECTORY]

Finds type, size, text statistics and image dimensions. It must see the same files: a local one does.
"""

from __future__ import annotations

import hashlib
import mimetypes
import sys
from collections import Counter
from pathlib import Path

import bursa

# What Python's own table lacks, or takes for something else.
TYPES = {".rs": "text/x-rust", ".md": "text/markdown", ".toml": "application/toml", ".sql": "application/sql"}
SKIPPED = {".git", ".venv", "target", "__pycache__", "node_modules"}


def extract(path: str) -> dict[str, object]:
    """What can be known of one file: always type, size and digest, and more for text and images."""
    data = Path(path).read_bytes()
    kind = TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    found: dict[str, object] = {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if kind.startswith("image/") and kind != "image/svg+xml":
        from PIL import Image

        with Image.open(path) as image:
            return {**found, "type": kind, "width": image.width, "height": image.height, "mode": image.mode}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {**found, "type": kind}
    words = Counter(word.lower() for word in text.split() if word.isalpha() and len(word) > 3)
    return {
        **found,
        "type": "text/plain" if kind == "application/octet-stream" else kind,
        "lines": text.count("\n"),
        "words": sum(words.values()),
        "frequent": [word for word, _ in words.most_common(3)],
    }


def files_below(directory: Path) -> list[str]:
    """Every regular file, but for what tools make."""
    paths = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(str(path) for path in paths if not SKIPPED.intersection(path.relative_to(directory).parts))


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    paths = files_below(directory)
    with bursa.Client() as client:
        found = list(client.map(extract, paths))
    kinds = Counter(str(entry["type"]) for entry in found)
    lines = sum(int(entry.get("lines", 0)) for entry in found)
    total = sum(int(entry["bytes"]) for entry in found)
    print(f"{len(found)} files in {directory}: {total:,} bytes, {lines:,} lines of text")
    for kind, count in kinds.most_common(8):
        print(f"  {count:6}  {kind}")
    images = [entry for entry in found if "width" in entry]
    for entry in images[:5]:
        print(f"  {entry['width']}x{entry['height']}  {Path(str(entry['path'])).name}")


if __name__ == "__main__":
    main()
