"""Settings of an MMDVMHost's feed."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.mmdvm import settings as module
from adapters.mmdvm.settings import MmdvmSettings


def test_the_sample_works() -> None:
    sample = tomllib.loads((Path(module.__file__).parent / "sample.toml").read_text("utf-8"))
    assert sample["adapter"] == "mmdvm"
    given = MmdvmSettings.model_validate(sample["settings"])
    assert given.topic == "mmdvm/json"


@pytest.mark.parametrize("given", [{"name": ""}, {"name": "mmdvm/+"}, {"hold_s": 0}, {"nmae": "x"}])
def test_what_cannot_work_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MmdvmSettings.model_validate({"broker": "mqtt://h", **given})
