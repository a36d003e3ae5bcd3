"""The review desk as one Streamlit component, its state as the server reads it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.components.module import component, spoken
from dashboard.desk import Data, Heard, heard
from dashboard.words import later

SCRIPTS = ("page", "presses", "queue", "heatmap", "grip", "stage", "histogram", "normals", "panels", "desk")


WORDS = {
    "desk": later("Review desk"),
    "strip": later("Next parts"),
    "decisions": {"normal": later("normal"), "unsure": later("unsure")},
    "choices": {"normal": later("Normal"), "defect": later("Defect …"), "unsure": later("Unsure")},
    "help": [
        ("N", later("Normal: a false alarm")),
        (later("D, then 1 … 9"), later("Defect, with its reason")),
        ("U", later("Unsure: an engineer decides")),
        ("Z", later("Undo your last verdict; older ones on the right")),
        (later("→ or J, ← or K"), later("Next part, back, without a verdict")),
        (later("V, Shift + V"), later("Next view, the one before")),
        (later("[ and ]"), later("Heatmap fainter, stronger")),
        ("+ − 0", later("Zoom in, out, whole picture; also the wheel and dragging")),
        (later("Shift + arrows"), later("Move the zoomed picture")),
        ("?", later("These keys; Esc closes")),
    ],
    "left": later("{n} to review"),
    "unsaved": later("{n} unsaved"),
    "lot": later("lot {lot}"),
    "model": later("model {model}"),
    "failed": later("not inspected: {failed}"),
    "lost": later("Somebody else has this part, or it is judged: → goes on."),
    "back": later("Back"),
    "next": later("Next"),
    "partAt": later("Part {serial} at {station}, {at} of {n}"),
    "noPicture": later("no picture"),
    "view": later("View"),
    "overlay": later("Overlay"),
    "contour": later("Contour"),
    "side": later("Side by side"),
    "flicker": later("Flicker"),
    "frame": later("Frame"),
    "noHeatmap": later("Frame · there is no heatmap"),
    "heatmapComing": later("Frame · its heatmap is still loading"),
    "heatmapUnseen": later("Frame · its heatmap cannot be loaded"),
    "frameOf": later("Frame of part {serial} at {station}"),
    "outlined": later("Frame of part {serial} at {station} with the outline of its heatmap"),
    "underHeatmap": later("Frame of part {serial} at {station} under its heatmap"),
    "fainter": later("Heatmap fainter"),
    "stronger": later("Heatmap stronger"),
    "zoomOut": later("Zoom out"),
    "whole": later("Whole picture"),
    "zoomIn": later("Zoom in"),
    "undo": later("Undo"),
    "undoOf": later("Undo {verdict} of part {serial}"),
    "parts": later("{n} parts at once"),
    "undoMany": later("Undo {verdict} of {n} parts at once"),
    "manyBack": later("Your last verdict was of {n} parts at once: take it back in the list on the right."),
    "undone": later("undone"),
    "keys": later("Keys"),
    "close": later("Close"),
    "cancel": later("Cancel"),
    "which": later("Which defect?"),
    "last": later("Last verdict"),
    "scoreHere": later("The score of a part shows here, once it is decided."),
    "refused": later("Refused: {words}"),
    "score": later("score {score}"),
    "scores": later("{n} scores of this station in 30 days"),
    "uncertified": later("Nothing certified decided this part: there is no threshold to show."),
    "among": later("Score {score} among {n} scores of this station"),
    "above": later("{name} above {score}"),
    "thisPart": later("this part {score}"),
    "past": later("Your verdicts of this shift"),
    "noneYet": later("None yet."),
    "noneHere": later("None on this page."),
    "fetching": later("Fetching them …"),
    "newer": later("Newer"),
    "older": later("Older"),
    "nearest": later("Nearest accepted normals"),
    "looking": later("Looking for them …"),
    "unloaded": later("They cannot be loaded."),
    "noneAlike": later("None was scored as this part was."),
    "normalOf": later("Accepted normal {part}"),
    "letGo": later("The evidence of this part is no longer kept."),
    "unseen": later("The picture cannot be loaded: only Unsure is accepted, which passes the part to an engineer."),
    "loading": later("Loading the picture …"),
    "lookFirst": later("The picture is still loading: look at it first."),
    "loadingNext": later("Loading the next parts …"),
    "empty": later("Nothing to review. The queue is empty. Flagged and audited parts come here by themselves."),
    "kept": later("Your verdicts are kept here and sent again."),
    "mayLook": later("You may look. Operators and engineers decide."),
}


def told(key: str) -> Heard:
    """What the browser has sent last; to be asked before `draw`."""
    state: Any = st.session_state.get(key) or {}
    return heard(state.get("sent"))


def draw(key: str, data: Data) -> None:
    """Draws the desk; `key` keeps it the same one from run to run."""
    desk = component(
        "review", "<div class='desk' tabindex='-1'></div>", "desk/desk", *(f"desk/{one}" for one in SCRIPTS)
    )
    desk(data={**data, "words": spoken(WORDS)}, key=key, default={"sent": {}}, on_sent_change=lambda: None)
