"""The rates by which a run decides what it stores.

They are measured once a workspace and kind of device, so that a run that is started again decides as it did before.
"""

from __future__ import annotations

from jobs.plan.keeping import decide_keeping, is_undecided
from jobs.plan.measure import measure_rates
from jobs.plan.rates import Rates
from pipelines.engine.codec import decode, encode
from pipelines.engine.machine import choose_device
from pipelines.engine.recipe import Recipe
from pipelines.engine.store import Store
from sppnet.errors import ArtifactError


def decide_here(recipe: Recipe, store: Store, *, measure: bool) -> tuple[Recipe, list[str]]:
    """Decide what a recipe leaves to the run, see `decide_keeping`.

    Args:
        recipe: The recipe.
        store: The workspace's, which holds the rates.
        measure: Whether this machine is measured where it has not been; if not, and nothing is known, nothing is
            decided.
    """
    if not is_undecided(recipe):
        return recipe, []
    rates = _known(store) or (_measured(store) if measure else None)
    return (recipe, []) if rates is None else decide_keeping(recipe, rates)


def _known(store: Store) -> Rates | None:
    name = _name()
    try:
        data = store.read(name)
    except ArtifactError:
        return None
    return decode(Rates, data, f"{store.uri}/{name}")


def _measured(store: Store) -> Rates:
    rates = measure_rates()
    if store.create(_name(), encode(rates)):
        return rates
    return _known(store) or rates  # another run was first


def _name() -> str:
    return f"rates-{choose_device().type}.json"
