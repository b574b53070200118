"""What request bodies have in common."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Body(BaseModel):
    """A request body: a field that we do not know is a mistake, and is named."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def given(self) -> dict[str, Any]:
        """The fields that the caller wrote, of a JSON Merge Patch."""
        return self.model_dump(exclude_unset=True)


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Place = Annotated[Text, StringConstraints(strip_whitespace=True, max_length=400)]
Reference = Annotated[Text, StringConstraints(min_length=1, max_length=1000)]
"""An organisation: its id or its slug path."""

Purpose = Annotated[Text, Field(max_length=400)]
"""Why somebody looks; recorded."""

Password = Annotated[str, StringConstraints(max_length=256)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
