"""Pages of evaluations to lie beside the results: no crystals, no labels, no local paths."""

from collections.abc import Mapping
from pathlib import Path

from atomprint import api


def keep_page(folder: Path, out: Path, words: Mapping[str, str]) -> None:
    """Write an evaluation's page to ``out``, with words such as ``DIR`` in place of paths.

    The page with all crystals is left in the evaluation's folder.
    """
    text = api.report(folder, crystals=False).read_text(encoding="utf-8")
    api.report(folder)
    # Longer paths first: one may be part of another.
    for path, word in sorted(words.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(path, word)
    out.write_text(text, encoding="utf-8")
