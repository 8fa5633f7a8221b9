"""The command that shows the pre-trained networks that come with the package."""

from typing import Annotated

import typer

from atomprint.cli.options import Json
from atomprint.cli.output import print_json, print_places, stdout_for_the_answer


def checkpoints(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only this one, with its card.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """List the pre-trained networks that come with atomprint.

    With size, licence, data, checksum and results; finetune --from and embed take their names.
    """
    with stdout_for_the_answer():
        from atomprint import api
        from atomprint.heads.shipped import FOLDER, describe

        found = [describe(name)] if name is not None else api.checkpoints()
    cards = {one.name: FOLDER / one.name.partition("/")[2] / "card.md" for one in found}
    if json:
        rows = [{**one.model_dump(mode="json"), "card": cards[one.name]} for one in found]
        print_json({"checkpoints": rows})
        return
    if name is not None:
        print(cards[name].read_text(encoding="utf-8"), end="")
        return
    for index, one in enumerate(found):
        if index:
            print()
        print_places(
            {
                "name": one.name,
                "what": one.summary,
                "size": f"{one.n_bytes / 1e6:.2f} MB, {one.n_parameters:,} parameters",
                "licence": one.licence,
                "data": f"{one.n_crystals:,} {one.data}",
                "results": one.gains,
                "sha256": one.sha256["model.safetensors"],
                "card": cards[one.name],
            }
        )
