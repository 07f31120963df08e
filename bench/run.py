"""``make bench``: every benchmark, one after the other, and their figures in build/bench.json."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
BENCHMARKS = ("pods", "volumes", "apiserver", "store", "scheduler", "controllers", "rolling", "runtime", "probes")


def main() -> None:
    BUILD.mkdir(exist_ok=True)
    figures: dict[str, Any] = {}
    failed = []
    for name in BENCHMARKS:
        script = HERE / f"{name}.py"
        if not script.exists():
            continue
        print(f"\n== {name}", flush=True)
        output = BUILD / f"bench-{name}.json"
        done = subprocess.run([sys.executable, script, "--json", output], check=False)
        if done.returncode:
            failed.append(name)
        elif output.exists():
            figures[name] = json.loads(output.read_text())
    (BUILD / "bench.json").write_text(json.dumps(figures, indent=2))
    print(f"\nfigures: {BUILD / 'bench.json'}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
