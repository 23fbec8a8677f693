"""`python -m genre_x`: the command line, for launchers that start modules."""

from genre_x.cli import app

if __name__ == "__main__":
    app()
