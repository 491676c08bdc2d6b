"""A process for `run_watched`: it says something, then gives what it was given as its last line."""

from __future__ import annotations

import json
import os
import sys

if __name__ == "__main__":
    print("a framework's own line")
    print(json.dumps(json.loads(sys.stdin.read()) | {"told": os.environ["TOLD"]}))
