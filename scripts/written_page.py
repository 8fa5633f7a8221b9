"""A page that is written from results: written anew, or compared with what it should be."""

import argparse
import sys
from pathlib import Path


def write_or_check(path: Path, text: str, about: str) -> int:
    """Do what the command line says; return the exit status.

    Parameters
    ----------
    path
        The page.
    text
        What it should say.
    about
        What the script does, for its help.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    if not parser.parse_args().check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") != text:
        print(f"{path.name} is not that of the results; run {sys.argv[0]}")
        return 1
    return 0
