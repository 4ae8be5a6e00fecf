"""`python -m app.openapi`: writes openapi.yaml, which must equal what is served."""

from pathlib import Path
from typing import Any

import yaml

from app.factory import create_app
from jobs.settings import Settings

PATH = Path(__file__).parent.parent / "openapi.yaml"


def served_document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def main() -> None:
    """Writes the file."""
    PATH.write_text(yaml.safe_dump(served_document(), sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


if __name__ == "__main__":
    main()
