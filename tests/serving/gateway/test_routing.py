import pytest

from llm_flywheel.serving.gateway.routing import choose, sticky_point


@pytest.mark.parametrize(
    ("weights", "point", "expected"),
    [
        ({"stable": 80, "canary": 20}, 0.0, "canary"),
        ({"stable": 80, "canary": 20}, 19.999, "canary"),
        ({"stable": 80, "canary": 20}, 20.0, "stable"),
        ({"stable": 80, "canary": 20}, 99.999, "stable"),
        ({"stable": 100, "canary": 0}, 0.0, "stable"),
        ({"stable": 0, "canary": 100}, 99.999, "canary"),
        ({"stable": 100}, 50.0, "stable"),
    ],
)
def test_choose(weights, point, expected):
    assert choose(weights, point) == expected


def test_sticky_points_are_spread_evenly_and_depend_on_everything():
    points = [sticky_point(b"pepper", "support", "eva", f"session-{number}") for number in range(1000)]
    assert all(0 <= point < 100 for point in points)
    # Binomial(1000, 0.2): mean 200, standard deviation 12.6; four of them on each side.
    assert 149 <= sum(point < 20 for point in points) <= 251
    same = sticky_point(b"pepper", "support", "eva", "session-0")
    assert same == points[0]
    assert len({same, sticky_point(b"salt", "support", "eva", "session-0"),
                sticky_point(b"pepper", "other", "eva", "session-0"),
                sticky_point(b"pepper", "support", "bob", "session-0")}) == 4  # fmt: skip


def test_a_larger_weight_moves_sessions_to_the_canary_only():
    points = [sticky_point(b"pepper", "support", "eva", str(number)) for number in range(200)]
    before = {point for point in points if choose({"stable": 90, "canary": 10}, point) == "canary"}
    after = {point for point in points if choose({"stable": 50, "canary": 50}, point) == "canary"}
    assert before < after
