"""What a recipe has beside the fields of its stages, and the step's names and groups that stand for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.engine.stage import RUNTIME

MOST_REPEATS = 100
NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,99}"


class StepFields(BaseModel):
    """What every step of a recipe may have beside the fields of its stage.

    Attributes:
        stage: The stage's name, which says what other fields there are.
        repeat: Makes the step so many times, as `NAME-1`, `NAME-2` and so on, each with the next `seed`; the seed that
            the step gives, or 0, is the first one's. So often is made too what names the step in a field of one step,
            each from its own; a field that lists steps takes all. [steps; section 4.4; section 4.5]
    """

    model_config = ConfigDict(extra="allow")

    stage: str
    repeat: Annotated[int, Field(ge=2, le=MOST_REPEATS)] | None = None


class RecipeFields(BaseModel):
    """What a recipe has beside the fields of its steps.

    Attributes:
        version: Of the recipe's form.
        name: Name of the run's folder.
        seed: What all random choices of the run begin with. [no unit]
        category_groups: Lists of categories by name. A step's `categories` may be such a name, or `all`: those of its
            images' data set, in its order.
        steps: The steps by name, in any order.
    """

    model_config = ConfigDict(extra="forbid")

    version: Annotated[Literal[1], RUNTIME]
    name: Annotated[str, RUNTIME, Field(pattern=f"^{NAME_PATTERN}$")]
    seed: int = 0
    category_groups: Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    steps: Annotated[Mapping[str, StepFields], Field(min_length=1)]


TOP_LEVEL = tuple(RecipeFields.model_fields)
"""The keys of a recipe."""

Steps = Mapping[str, Any]
"""Steps as they stand in a recipe: what is wrong with one is said when it is parsed."""
