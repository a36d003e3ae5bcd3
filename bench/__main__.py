"""`python -m bench`: runs every bench and prints one table with the machine's description."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

import torch

from bench import frames, scorer, store, training
from bench.row import Row


def main() -> None:
    """Prints a Markdown table; docs/benchmarks.md holds the newest one."""
    rows: list[Row] = []
    for bench in (scorer, training, frames, store):
        rows += bench.rows()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cpu = torch.backends.cpu.get_cpu_capability()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({cpu}), {gpu}, ", end="")
    print(f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}\n")
    print("| what | figure | against | ratio |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.figure:,.0f} {row.unit} | {row.against} | {row.ratio:.2f} |")


if __name__ == "__main__":
    main()
