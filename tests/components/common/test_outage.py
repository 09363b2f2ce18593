import pytest

from llm_flywheel.components.common.cluster import Refused
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.outage import ride_out

AWAY = FlywheelError("the cluster does not answer: connection refused", reason="cluster")


class Server:
    """Raises these errors, then answers."""

    def __init__(self, *errors: FlywheelError) -> None:
        self.errors = list(errors)

    def look(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "seen"


def test_an_outage_is_ridden_out() -> None:
    overloaded = Refused(503, "overloaded", where="pods")
    assert ride_out(Server(AWAY, overloaded, AWAY).look, longest_s=60, pause_s=0) == "seen"


def test_one_that_lasts_is_an_error() -> None:
    with pytest.raises(FlywheelError, match="does not answer"):
        ride_out(Server(AWAY, AWAY).look, longest_s=0)


@pytest.mark.parametrize("error", [Refused(403, "forbidden", where="pods"), FlywheelError("gone", reason="deleted")])
def test_what_no_waiting_changes_is_an_error_at_once(error: FlywheelError) -> None:
    server = Server(error, AWAY)
    with pytest.raises(FlywheelError, match=error.what):
        ride_out(server.look)
    assert server.errors == [AWAY]
