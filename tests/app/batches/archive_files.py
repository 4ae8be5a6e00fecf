"""Archives as people and attackers make them."""

import gzip
import io
import tarfile
import zipfile


def zipped(members: dict[str, bytes | str]) -> bytes:
    """A zip archive of some files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(members: dict[str, bytes | str], *more: tarfile.TarInfo, compressed: bool = False) -> bytes:
    """A tar archive of some files, and of members without content."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member)
    return gzip.compress(made.getvalue()) if compressed else made.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    """A symbolic link in a tar archive."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    return member
