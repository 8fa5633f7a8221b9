"""The command ``atomprint``: which commands there are, and how the program starts and ends.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import atomprint
from atomprint.cli import (
    apply,
    checkpoints,
    corpus,
    coverage,
    demo,
    evaluate,
    fingerprint,
    stores,
    tasks,
    train,
)
from atomprint.cli.errors import report_errors
from atomprint.cli.output import notes_of_warnings
from atomprint.ground.processes import terminate

app = typer.Typer(
    name="atomprint",
    help="Pre-train graph networks for crystals on structural fingerprints; fine-tune on few "
    "labels.",
    epilog="First steps: atomprint demo --quick. "
    "Then: atomprint pretrain --data CRYSTALS --out run, and "
    "atomprint finetune --from run --data LABELLED --target COLUMN --twin --out tuned.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"atomprint {atomprint.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take what comes before the command; the help text stands above."""


app.command("demo")(demo.demo)
app.add_typer(stores.app, name="data")
app.add_typer(corpus.app, name="corpus")
app.command("fingerprint")(fingerprint.fingerprint)
app.command("pretrain")(train.pretrain)
app.command("finetune")(train.finetune)
app.command("predict")(apply.predict)
app.command("embed")(apply.embed)
app.command("coverage")(coverage.coverage)
app.command("evaluate")(evaluate.evaluate)
app.command("tasks")(tasks.tasks)
app.command("report")(demo.report)
app.command("checkpoints")(checkpoints.checkpoints)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status; errors become one sentence each."""
    command = typer.main.get_command(app)

    def invoke() -> None:
        with notes_of_warnings(), command.make_context("atomprint", list(argv)) as context:
            command.invoke(context)

    return report_errors(invoke)


def main() -> None:
    """Entry point of the installed program."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show Å or ± gets a question mark instead of a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
