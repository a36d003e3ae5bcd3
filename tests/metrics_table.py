"""docs/metrics.md, as the catalogue has it: `python -m tests.metrics_table > docs/metrics.md`."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase

from agent.metrics import Metrics

HEAD = """# Metrics

An agent serves these at `http://agent.host:agent.port/metrics` as Prometheus text. This file is written by
`python -m tests.metrics_table > docs/metrics.md` from the catalogue, `agent/metrics.py`; a test compares the two.
A histogram `NAME` is `NAME_bucket`, `NAME_sum` and `NAME_count`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def text() -> str:
    """The whole file: a row for each metric that is served, by name."""
    served = {family.name: family for family in Metrics().registry.collect()}
    labels = {one._name: one._labelnames for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)}
    rows = []
    for name, family in sorted(served.items()):
        shown = f"{name}_total" if family.type == "counter" else name
        named = ", ".join(f"`{label}`" for label in labels[name])
        rows.append(f"| `{shown}` | {family.type} | {named} | {family.documentation} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    print(text(), end="")
