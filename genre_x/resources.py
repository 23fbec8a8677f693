"""Where the files that ship with genre_x are: in the package when installed, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(*parts: str) -> Path:
    """Path of a shipped file or folder, such as `shipped("prompts", "general.yaml")`; it may not exist."""
    for root in (_PACKAGE, _PACKAGE.parent):
        if (root / parts[0]).is_dir():
            return root.joinpath(*parts)
    return _PACKAGE.joinpath(*parts)
