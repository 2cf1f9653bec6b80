"""The players that ship with the pages, and the one place where their versions are pinned.

``python -m penstock_page.vendor`` fetches them anew from the npm registry, with ``npm``, into this package.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha512
from pathlib import Path

from attrs import frozen


@frozen
class Library:
    """A package of the npm registry, of which one script and its licences are kept."""

    name: str
    version: str
    integrity: str
    """SHA-512 of the registry's archive in Base64, as ``npm view NAME@VERSION dist.integrity`` shows it."""
    script: str
    licences: tuple[str, ...]


VENDORED = (
    Library(
        "hls.js",
        "1.7.4",
        "3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg==",
        "hls.min.js",
        ("LICENSE",),
    ),
    Library(
        "mpegts.js",
        "1.8.2",
        "cZYMa5muASH55wrS6JK5IGkUqnCA96c0f+WdnW91jIK9s/N6NzjmTQDJNYg9A5u/G2Q5nj2b3w1Zwzze/9guxA==",
        "mpegts.js",
        ("LICENSE", "dist/mpegts.js.LICENSE.txt"),
    ),
)


def fetch(library: Library, folder: Path) -> None:
    """Put the script and the licences of `library` into `folder`. Raises `ValueError` for an archive that is another."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", work, f"{library.name}@{library.version}"],
            check=True,
            timeout=300,
        )
        (archive,) = Path(work).iterdir()
        digest = base64.b64encode(sha512(archive.read_bytes()).digest()).decode()
        if digest != library.integrity:
            raise ValueError(f"{library.name} {library.version} is not what is pinned: sha512-{digest}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as packed:
            for member in (f"dist/{library.script}", *library.licences):
                file = packed.extractfile(f"package/{member}")
                if file is None:
                    raise ValueError(f"{library.name} {library.version} has no file {member}")
                body = file.read()
                if member.endswith(".js"):
                    # The map of the sources is not shipped: what names it would only be asked for in vain.
                    body = body.partition(b"\n//# sourceMappingURL=")[0] + b"\n"
                (folder / Path(member).name).write_bytes(body)


def main() -> None:
    for library in VENDORED:
        fetch(library, Path(__file__).parent / "vendor" / library.name)
        sys.stdout.write(f"{library.name} {library.version}\n")


if __name__ == "__main__":
    main()
