"""Words that the database and the stream hold as codes, for people: their display is translated, they never are."""

from __future__ import annotations

from dashboard.words import later, say

# A translator meets them in this order. What a plant adds, such as its own reasons, may stand in its file as well.
ROLES = (later("viewer"), later("operator"), later("engineer"), later("admin"))
DECISIONS = (later("normal"), later("defect"), later("unsure"), later("undo"))
ITEMS = (later("open"), later("escalated"), later("closed"))
VERDICTS = (later("pass"), later("review"), later("reject"), later("not inspected"))
REASONS = (
    later("scratch"), later("dent"), later("corrosion"), later("chip"), later("burr"), later("stain"), later("crack"),
    later("other"), later("unreadable"),
)  # fmt: skip
FAILURES = (
    later("bad header"), later("undecodable"), later("too large"), later("too old"), later("wrong size"),
    later("no model"), later("model error"), later("claim missing"), later("claim corrupt"),
)  # fmt: skip
SAMPLES = (
    later("train"), later("calibration"), later("holdout"), later("import"), later("flagged"), later("audit"),
    later("proposed"), later("quarantined"), later("accepted"), later("refused"), later("revoked"), later("confirmed"),
)  # fmt: skip
RECORDS = (
    later("product"), later("station"), later("user"), later("item"), later("sample"), later("withdrawal"),
    later("command"), later("training run"), later("model version"), later("alert"),
)  # fmt: skip
LETTERS = (later("waiting"), later("replayed"), later("discarded"))
ALERTS = (later("error"), later("warning"), later("acknowledged"), later("ended"))
KINDS = (
    later("breaker"), later("data gap"), later("sequence gap"), later("station blind"), later("station silent"),
    later("camera frozen"), later("camera black"), later("camera saturated"), later("camera defocused"),
    later("partition stalled"), later("flag rate"), later("drift"), later("no trusted model"), later("excess flags"),
    later("disk"), later("disk fills"), later("audit waits"), later("certificate lapsed"),
)  # fmt: skip
MARKS = (later("model"), later("epoch"), later("gap"))
AGREEMENTS = (later("identical"), later("within tolerance"), later("same verdict"), later("different"))
GAPS = (later("below start"), later("beyond end"), later("truncated"))
CAUSES = (later("stream"), later("camera"))
VERSIONS = (later("candidate"), later("champion"), later("retired"), later("rejected"))
RUNS = (
    later("queued"), later("running"), later("promoted"), later("needs person"), later("failed"), later("cancelled"),
    later("shadow"), later("samples"), later("cron"), later("person"), later("teach"),
)  # fmt: skip
STAGES = (later("decode"), later("score"), later("evidence"), later("record"), later("decision"))
PHASES = (
    later("starting"), later("features"), later("memory"), later("training"), later("normalising"),
    later("calibrating"), later("comparing"),
)  # fmt: skip
WATCHES = (later("watch"), later("kept"), later("rolled back"), later("untrusted"))
TEACHINGS = (later("collecting"), later("looking"), later("done"))


def shown(code: str) -> str:
    """A code as people read it, such as `rolled_back`; one that the catalogue has not, as it is."""
    return say(code.replace("_", " "))


def named(code: str) -> str:
    """As `shown`; in English the code itself, as scripts and documents write it."""
    text = code.replace("_", " ")
    said = say(text)
    return code if said == text else said
