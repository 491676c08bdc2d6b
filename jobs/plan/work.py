"""What a step has to do, by kind of work, and how long it takes at given rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.plan.rates import Rates

_LOWER, _FULL, _SCORES, _START = "macs", "float32", "scoring", "start"


@dataclass(frozen=True, slots=True)
class Work:
    """Amounts of work.

    Attributes:
        amounts: By the name of the rate at which they are done.
        written: Bytes stored.
    """

    amounts: Mapping[str, float] = field(default_factory=dict)
    written: float = 0.0

    @classmethod
    def of(cls, written: float = 0.0, **amounts: float) -> Work:
        """Take amounts by the name of their rate, such as `read=2e9`; `start` counts starts."""
        return cls({name: float(amount) for name, amount in amounts.items() if amount}, float(written))

    @classmethod
    def product(cls, macs: float, precision: str) -> Work:
        """Take multiply-accumulates in a type, `bfloat16` or `float32`."""
        return cls.of(**{_LOWER if precision == "bfloat16" else _FULL: macs})

    def __add__(self, other: Work) -> Work:
        names = dict.fromkeys((*self.amounts, *other.amounts))
        amounts = {name: self.amounts.get(name, 0.0) + other.amounts.get(name, 0.0) for name in names}
        return Work(amounts, self.written + other.written)

    def __mul__(self, times: float) -> Work:
        return Work({name: times * amount for name, amount in self.amounts.items()}, times * self.written)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the network and the detectors, in either type."""
        return sum(self.amounts.get(name, 0.0) for name in (_LOWER, _FULL, _SCORES))

    @property
    def read(self) -> float:
        """Bytes that are read back, decompressed: of maps, and of fine-tuning's samples."""
        return self.amounts.get("read", 0.0) + self.amounts.get("streamed", 0.0)

    def seconds(self, rates: Rates) -> dict[str, float]:
        """Tell the seconds of one worker, by kind of work."""
        return {name: amount * _cost(name, rates) for name, amount in self.amounts.items()}


def _cost(name: str, rates: Rates) -> float:
    """Tell the seconds that one piece of some work takes."""
    if name == _FULL:
        return 1.0 / (rates.macs * rates.float32)
    if name == _START:
        return rates.start
    return 1.0 / float(getattr(rates, name))
