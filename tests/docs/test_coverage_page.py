"""The tables of the coverage page are those of the results."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_that_of_the_results():
    script = ROOT / "scripts" / "generate_coverage_page.py"
    asked = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr
