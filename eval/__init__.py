"""Slow runs: quality, speed, reports. `python -m eval.<name>`; nothing in genre_x imports it."""
