"""Time a table of 500 synthetic records: 25 systems by 20 seeds, summary and full, from files to text.

Run it as `python tests/benchmarks/table_many.py [RECORDS]`; nothing is asserted.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic import write_run

SEEDS = 20


def main(records: int) -> None:
    """Write the records, then time the command as a user runs it."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(records):
            system, seed = divmod(number, SEEDS)
            name = f"method {system}" if system else "none"
            run_id = f"mini-{system}-{seed}"
            created = f"2026-01-01T{number // 60:02}:{number % 60:02}:00+00:00"
            write_run(Path(folder), name, seed, toxicity=0.6 / (system + 1), run_id=run_id, created=created)
        for layout in ("summary", "full"):
            for form in ("terminal", "markdown", "latex", "html", "csv", "json"):
                command = [sys.executable, "-m", "bench", "table", "--all", "--runs-dir", folder]
                begin = time.perf_counter()
                done = subprocess.run(
                    [*command, "--layout", layout, "--format", form], check=True, capture_output=True, text=True
                )
                seconds = time.perf_counter() - begin
                print(f"{records} records, {layout}, {form}: {seconds:.1f} s, {len(done.stdout):,} characters")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
