"""Machines with networks of their own, on this one: Linux network namespaces at a switch whose cables can be pulled.

It takes root and `ip`. A cable that is pulled loses what is under way without a word, as a switch that dies does: no
connection is closed, nobody is told.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_IP = shutil.which("ip") or "ip"


@dataclass(frozen=True)
class Machine:
    """A network namespace.

    Attributes:
        name: The namespace's, and that of its cable's end at the switch.
        ip: Its address; what is started by `run` has no other network than this and its own loopback.
    """

    name: str
    ip: str

    @property
    def run(self) -> tuple[str, ...]:
        """What a command is prefixed with to run there."""
        return (_IP, "netns", "exec", self.name)

    def pull(self) -> None:
        """Cuts it off."""
        _ip("link", "set", self.name, "down")

    def plug(self) -> None:
        """Brings it back."""
        _ip("link", "set", self.name, "up")


class Switch:
    """A bridge that this machine is at too.

    Attributes:
        ip: This machine's address at it.
        machines: Those that were added.
    """

    def __init__(self) -> None:
        number = random.SystemRandom().randrange(1, 250)
        self._name, self._net = f"sppsw{number}", f"10.213.{number}"
        self.ip = f"{self._net}.1"
        self.machines: list[Machine] = []
        _ip("link", "add", self._name, "type", "bridge")
        _ip("addr", "add", f"{self.ip}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")

    def add(self) -> Machine:
        """Adds a machine."""
        number = len(self.machines) + 2
        machine = Machine(f"{self._name}m{number}", f"{self._net}.{number}")
        self.machines.append(machine)
        _ip("netns", "add", machine.name)
        inside = ("-n", machine.name)
        _ip("link", "add", machine.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        _ip("link", "set", machine.name, "master", self._name, "up")
        _ip(*inside, "addr", "add", f"{machine.ip}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "route", "add", "default", "via", self.ip)  # by it Ray finds out a machine's own address
        return machine

    def close(self) -> None:
        """Takes all of it away; what still runs in a machine keeps its loopback."""
        for machine in self.machines:
            _ip("netns", "del", machine.name, check=False)
            _ip("link", "del", machine.name, check=False)
        _ip("link", "del", self._name, check=False)


def can_cut() -> bool:
    """Whether this process may make such machines here."""
    if os.geteuid() or not Path(_IP).is_file():
        return False
    made = _ip("netns", "add", "sppnet-probe", check=False)
    _ip("netns", "del", "sppnet-probe", check=False)
    return made


@contextmanager
def switch() -> Iterator[Switch]:
    """A switch, and its end."""
    made = Switch()
    try:
        yield made
    finally:
        made.close()


def _ip(*words: str, check: bool = True) -> bool:
    """Calls `ip`; tells whether it did what it was told."""
    return subprocess.run([_IP, *words], check=check, capture_output=True, text=True).returncode == 0
