"""
`arrowetl`, run as a program that stops at a step of its load kind until it is reported to go on.

Set by the environment: ARROWETL_FAULT_AT names the step, ARROWETL_FAULT_DIR where it says that it was reached
(`reached`, with its process number) and looks for leave to go on (`go`). Worker processes import it as well.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# Step → where it begins: module, class or nothing, function; and the endpoint it must be about.
STEPS: dict[str, tuple[str, str, str, str]] = {
    # It has its locks, and is about to write down that it may switch.
    "mark": ("arrowetl.state.locks", "Locks", "take", ""),
    "plan": ("arrowetl.pipeline.plan_run", "", "planned", ""),
    "prepare": ("arrowetl.warehouse.loader", "Warehouse", "prepare", ""),
    "extract": ("arrowetl.source.reader", "Source", "extract", "source"),
    "load": ("arrowetl.replica.loader", "Replica", "_load", ""),
    "ingest": ("arrowetl.warehouse.loader", "Warehouse", "load", ""),
    "finish": ("arrowetl.pipeline.load_table", "", "complete_staging", ""),
    "compare": ("arrowetl.pipeline.load_table", "", "compare", ""),
    # Its rows are written, and neither recorded nor committed.
    "warehouse's cutover": ("arrowetl.state.state_sql", "", "recorded_load", ""),
    "between the cutovers": ("arrowetl.replica.loader", "Replica", "cutover", ""),
    "replica's cutover": ("arrowetl.state.state_sql", "", "recorded_copy", ""),
    "record": ("arrowetl.state.ledger", "Ledger", "finish", ""),
}


def reached(directory: Path) -> None:
    """Once, in whatever process it is first: say so, and wait."""
    try:
        with (directory / "reached").open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return
    deadline = time.monotonic() + 60
    while not (directory / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def install(step: str, directory: Path) -> None:
    module_name, class_name, function, about = STEPS[step]
    module = importlib.import_module(module_name)
    place = getattr(module, class_name) if class_name else module
    original = getattr(place, function)

    @functools.wraps(original)
    def stopped(*arguments: Any, **named: Any) -> Any:
        if not about or arguments[0].endpoint.name == about:
            reached(directory)
        return original(*arguments, **named)

    setattr(place, function, stopped)


def impatient() -> None:
    """Waits of seconds where they are minutes otherwise."""
    limits = importlib.import_module("arrowetl.limits")
    limits.silence_grace_seconds, limits.silence_again_seconds, limits.lock_seconds = 1, 1, 3  # type: ignore[attr-defined]


def elsewhen(days: float) -> None:
    """This program's clock is wrong by so much; how long things take is not."""
    clock = importlib.import_module("time_machine")
    clock.travel(datetime.now(UTC) + timedelta(days=days), tick=True).start()


impatient()
if days := float(os.environ.get("ARROWETL_CLOCK_DAYS", "0")):
    elsewhen(days)
if os.environ.get("ARROWETL_FAULT_AT"):
    install(os.environ["ARROWETL_FAULT_AT"], Path(os.environ["ARROWETL_FAULT_DIR"]))

if __name__ == "__main__":
    importlib.import_module("arrowetl.cli.main").main()
