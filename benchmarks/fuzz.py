"""Change files at random for some minutes, and list every outcome that is no plain refusal of the file.

    python benchmarks/fuzz.py --minutes 10 --target checkpoints

Each change has a number, from which it is made again: `--first 1234 --tries 1`. What was found so far stands as tests
in `tests/robustness`.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.robustness.mutation import SECONDS, TARGETS, attempt, prepared


def ended(*_: object) -> None:
    traceback.print_stack()
    raise TimeoutError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--tries", type=int, help="so many, in place of --minutes")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, ended)
    failed = 0
    for name in TARGETS if options.target == "all" else [options.target]:
        outcomes: Counter[str] = Counter()
        found: dict[str, int] = {}
        end = time.monotonic() + 60 * options.minutes
        with tempfile.TemporaryDirectory() as scratch:
            target = prepared(name, Path(scratch, "whole"))
            for seed in count(options.first):
                done = outcomes.total()
                if done >= options.tries if options.tries else time.monotonic() > end:
                    break
                signal.alarm(SECONDS)  # what hangs is ended, with a traceback that says where
                outcome, wrong = attempt(target, Path(scratch, "whole"), Path(scratch, "changed"), seed)
                outcomes[outcome] += 1
                if wrong and (short := wrong.replace(scratch, "")[:60]) not in found:
                    found[short] = seed
                    print(f"{name} {seed}: {wrong}", flush=True)
        print(f"{name}: {outcomes.total()} changes, {dict(outcomes)}, {len(found)} kinds of faults", flush=True)
        failed += len(found)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
