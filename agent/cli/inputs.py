"""Options that say how a product's frames become model input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from agent.cli.common import CommandError


@Parameter(name="*")
@dataclass(frozen=True)
class InputOptions:
    """What differs from the configured input; see model.images.InputSpec."""

    size: Annotated[str | None, Parameter(help="Of a tile: HEIGHTxWIDTH or one side in pixels, multiples of 32.")] = (
        None
    )
    fit: Annotated[
        Literal["stretch", "letterbox"] | None, Parameter(help="Stretch to the size, or keep the proportions.")
    ] = None
    region: Annotated[
        str | None, Parameter(help="LEFT,TOP,RIGHT,BOTTOM of what is inspected, as fractions of the frame.")
    ] = None
    tiles: Annotated[str | None, Parameter(help="ROWSxCOLUMNS over the region, such as 1x2.")] = None
    overlap: Annotated[float | None, Parameter(help="Of neighbouring tiles, as a fraction of a tile, 0 to 0.5.")] = None
    ignore: Annotated[
        str | None, Parameter(help="Image of a frame, white where nothing is inspected; '' for none.")
    ] = None

    def given(self) -> dict[str, Any]:
        """What was given, by the names of `agent.settings.Input`; the mask is read.

        Raises:
            CommandError, model.images.InputError: what was given cannot be read.
        """
        found: dict[str, Any] = {"fit": self.fit, "overlap": self.overlap}
        if self.size is not None:
            height, width = _pair("size", self.size, "256 or 256x512, height first")
            found |= {"height": height, "width": width}
        if self.tiles is not None:
            found["rows"], found["columns"] = _pair("tiles", self.tiles, "1x2, rows first")
        if self.region is not None:
            found["region"] = _region(self.region)
        if self.ignore is not None:
            found["ignore"] = _mask(self.ignore)
        return {name: value for name, value in found.items() if value is not None}


CONFIGURED = InputOptions()


def _pair(option: str, text: str, example: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise CommandError(f"--{option} {text}: write it as {example}")
    return int(match[1]), int(match[2] or match[1])


def _region(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise CommandError(f"--region {text}: write left,top,right,bottom as fractions of the frame: 0.1,0,0.9,1")
    return numbers


def _mask(path: str) -> str:
    from model.images import ignore_mask

    return ignore_mask(Path(path)) if path else ""


def words(values: dict[str, Any]) -> str:
    """An input in the words of these options, such as `256x512 letterbox tiles 1x2 overlap 0.25`."""
    said = [f"{values['height']}x{values['width']}", values["fit"]]
    if tuple(values["region"]) != (0, 0, 1, 1):
        said.append(f"region {','.join(f'{one:g}' for one in values['region'])}")
    if (values["rows"], values["columns"]) != (1, 1):
        said.append(f"tiles {values['rows']}x{values['columns']} overlap {values['overlap']:g}")
    if values["ignore"]:
        said.append("ignore mask")
    return " ".join(said)
