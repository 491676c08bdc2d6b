"""Write a lock file's packages as a software bill of materials: CycloneDX 1.5, JSON. Needs no network.

python .ci/sbom.py requirements-runtime.lock > sbom.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^]]*\])?==(?P<version>[^\s;]+)(?P<rest>.*)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill(lock: str) -> dict[str, Any]:
    """Return the bill of a lock file's text; raise `ValueError` for a package without hashes."""
    packages = []
    for line in lock.replace("\\\n", " ").splitlines():
        pin = _PIN.match(line.strip())
        if pin is None:
            continue
        name, version, hashes = pin["name"].lower(), pin["version"], _HASH.findall(pin["rest"])
        if not hashes:
            raise ValueError(f"{name} {version} has no hash")
        purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name)}@{version}"
        packages.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
                # One for each file that the index has of this version; which is installed depends on the machine.
                "properties": [{"name": "sppnet:sha256", "value": value} for value in hashes],
            }
        )
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": packages}


if __name__ == "__main__":
    print(json.dumps(bill(Path(sys.argv[1]).read_text(encoding="utf-8")), indent=1))  # noqa: T201
