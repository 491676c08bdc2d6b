"""The bill of materials: every package of the runtime's lock, with the hashes that its installation is checked by."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys

import pytest

from tests.support.source_tree import ROOT

SCRIPT = ROOT / ".ci" / "sbom.py"
LOCK = ROOT / "requirements-runtime.lock"


def test_every_locked_package_is_in_the_bill() -> None:
    said = subprocess.run([sys.executable, SCRIPT, LOCK], capture_output=True, text=True, check=True)
    bill = json.loads(said.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    text = LOCK.read_text()
    locked = re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE)
    assert [(one["name"], one["version"]) for one in bill["components"]] == [(name.lower(), v) for name, v in locked]
    assert sum(len(one["properties"]) for one in bill["components"]) == text.count("--hash=sha256:")
    assert "pkg:pypi/ray@" in said.stdout


def test_a_package_without_hashes_is_refused() -> None:
    bill = runpy.run_path(str(SCRIPT))["bill"]
    with pytest.raises(ValueError, match=r"^other 2\.0 has no hash$"):
        bill(f"one==1.0 \\\n    --hash=sha256:{'a' * 64}\nother==2.0\n")
