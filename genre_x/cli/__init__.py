"""The command line."""

from genre_x.cli.app import app

__all__ = ["app"]
