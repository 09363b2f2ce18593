import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.local.processes import free_port


@pytest.mark.parametrize("token", ["토큰-secret", "line-secret\nbreak"])
def test_a_header_that_http_cannot_carry_is_explained_without_its_value(token: str) -> None:
    with pytest.raises(FlywheelError, match="the request cannot be sent") as caught:
        call(f"http://127.0.0.1:{free_port()}/", headers={"authorization": f"Bearer {token}"})
    assert caught.value.reason == "request"
    assert "secret" not in str(caught.value)
