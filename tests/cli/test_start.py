"""How the program starts: at once, and without what it does not need yet."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

# (typer itself imports pydantic.)
HEAVY = ("torch", "numpy", "ase", "rich", "yaml", "pyarrow", "matplotlib")


@pytest.mark.parametrize("words", [["--help"], ["data", "--help"], ["finetune", "-h"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from atomprint.cli.main import run; assert run(sys.argv[1:]) == 0; "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
    assert "Usage: atomprint" in done.stdout


def test_the_package_has_the_verbs_without_importing_them():
    code = (
        "import sys, atomprint; assert 'pretrain' in dir(atomprint); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_entry_point():
    from atomprint.cli.main import main

    (program,) = entry_points(group="console_scripts", name="atomprint")
    assert program.load() is main


def test_version(shell):
    import atomprint

    assert shell("--version") == (0, f"atomprint {atomprint.__version__}\n", "")


def test_every_command_has_help_and_every_option_says_what_it_does():
    from typer.main import get_command

    from atomprint.cli.main import app

    def walk(command):
        for member in getattr(command, "commands", {}).values():
            assert member.help, member.name
            for parameter in member.params:
                assert parameter.help, (member.name, parameter.name)
            yield member.name
            yield from walk(member)

    names = set(walk(get_command(app)))
    wanted = "demo data inspect fingerprint pretrain finetune predict embed report"
    assert set(wanted.split()) <= names


def test_a_reader_that_leaves_early_is_no_error():
    """Like ``atomprint --help | true``."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", "from atomprint.cli.main import main; main()", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.stderr == ""
