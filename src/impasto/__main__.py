"""``python -m impasto``: the command line."""

from impasto.cli.app import main

if __name__ == "__main__":
    main()
