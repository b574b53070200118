"""One clip cache for all tests of the simulated cameras."""

import pytest
import video_peers


@pytest.fixture(scope="session", autouse=True)
def _clip_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    video_peers.clip_cache = tmp_path_factory.mktemp("clips")
