"""What the model routes take as JSON; unknown members are refused by name."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FeatureBounds(_Body):
    """The least and the greatest value that a feature takes."""

    min: FiniteFloat | None = None
    max: FiniteFloat | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is greater than max")
        return self


class ModelPatch(_Body):
    """Members that are absent stay as they are; null empties a description."""

    description: str | None = Field(None, max_length=2000)
    feature_bounds: dict[str, FeatureBounds] = Field(default_factory=dict, max_length=10_000)
    visibility: Literal["private", "shared", "public"] = "private"
    shared_with: list[str] = Field(
        default_factory=list, max_length=100, description="E-mails or ids of users."
    )

    def changes(self) -> dict[str, Any]:
        """The members that were sent, as the registry stores them."""
        return self.model_dump(include=self.model_fields_set, exclude_none=False) | (
            {"feature_bounds": self._bounds()} if "feature_bounds" in self.model_fields_set else {}
        )

    def _bounds(self) -> dict[str, dict[str, float]]:
        return {
            name: bounds.model_dump(exclude_none=True)
            for name, bounds in self.feature_bounds.items()
        }


class NewOwner(_Body):
    """Whose a model is to be."""

    owner: str = Field(min_length=3, max_length=254, description="E-mail or id of an account.")


class AliasTarget(_Body):
    """Where an alias is to point."""

    version: int = Field(ge=1, le=2**31 - 1)
