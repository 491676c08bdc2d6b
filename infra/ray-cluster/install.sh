#!/usr/bin/env bash
# What every machine of a cluster needs, from a checkout in ~/sppnet-source: the packages of the lock, and this project.
# Arguments: more packages, such as the cloud's client that the head's autoscaler uses.
set -euo pipefail
cd "$HOME/sppnet-source"
if ! python3 -c "import ensurepip" 2> /dev/null; then
  sudo apt-get update -q && sudo apt-get install -qy python3-venv
fi
[ -x "$HOME/sppnet/bin/pip" ] || python3 -m venv "$HOME/sppnet"
"$HOME/sppnet/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements-runtime.lock
"$HOME/sppnet/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation .
if [ "$#" -gt 0 ]; then
  "$HOME/sppnet/bin/pip" install --quiet --disable-pip-version-check "$@"
fi
