"""Files of weights: where they lie, and that they are the ones that were meant."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from rhocast.errors import UnusableWeights


def weights_path(package: str, path: str) -> Path:
    """The file `path` inside an importable package, found without importing the package itself.

    Args:
        package: Dotted name, such as "chgnet" or "models.density".
        path: Path below the package's folder, with slashes.

    Raises:
        UnusableWeights: If the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UnusableWeights(
            f"found no package {package!r}; expected it to carry the weights {path}; install the worker's dependencies"
        )
    return Path(spec.submodule_search_locations[0], path)


def sha256_of(file: Path) -> str:
    """Hash of a file's bytes, as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verified_bytes(file: Path, sha256: str) -> bytes:
    """Contents of a file of weights; what is returned is what was hashed, so nothing can be swapped in between.

    Args:
        file: The file of weights.
        sha256: The hash that it must have.

    Raises:
        UnusableWeights: If the file is missing or has another hash.
    """
    if not file.is_file():
        raise UnusableWeights(f"found no file {file}; expected weights with sha256 {sha256}; reinstall what carries it")
    contents = file.read_bytes()
    found = hashlib.sha256(contents).hexdigest()
    if found != sha256:
        raise UnusableWeights(f"found {file.name} with sha256 {found}; expected {sha256}; reinstall what carries it")
    return contents
