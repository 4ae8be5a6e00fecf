"""Which files of a folder or an archive are structures, by their names."""

from pathlib import PurePosixPath

_ENDINGS = frozenset({".cif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz"})
_STARTS = ("POSCAR", "CONTCAR")


def is_structure_file(name: str) -> bool:
    """Whether a file is taken for a structure. Hidden files are not: macOS puts one beside each file in an archive.

    Args:
        name: Its name or path.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    if last.startswith("."):
        return False
    return PurePosixPath(last).suffix.lower() in _ENDINGS or last.startswith(_STARTS)
