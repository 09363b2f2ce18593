import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.plan import Metric, RolloutPlan, weights_for


def test_the_defaults_are_a_valid_plan_of_three_metrics():
    plan = bind(RolloutPlan, {})
    assert [metric.kind for metric in plan.metrics] == ["errors", "ttft", "latency"]
    assert (plan.harm_limit, plan.pass_limit) == (pytest.approx(60.0), 20.0)


def test_integers_that_kfp_turned_into_floats_are_taken_back():
    assert bind(RolloutPlan, {"steps": [10.0, 50.0], "min_requests": 12.0}).steps == [10, 50]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": [50, 10]}, "weights must rise"),
        ({"steps": [10, 100]}, "stable needs traffic"),
        ({"metrics": [{"kind": "ttft"}]}, "errors is required"),
        ({"metrics": [{"kind": "errors"}]}, "max_rate is required for errors"),
        ({"metrics": [{"kind": "errors", "max_rate": 0.1, "margin": 2, "tolerated": 2}]}, "must be below margin"),
        ({"metrics": [{"kind": "errors", "max_rate": 0.1}, {"kind": "ttft", "margin": 10}]}, "give max_rate"),
        ({"min_seconds": 90}, "min_seconds must be below max_seconds"),
        ({"alpha": 0.9}, "alpha"),
        ({"stepz": [1]}, "did you mean 'steps'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_words(values, message):
    with pytest.raises(FlywheelError, match=message):
        bind(RolloutPlan, values, where="rollout.plan")


def test_the_absolute_limit_of_a_latency_metric_follows_from_margin_and_quantile():
    assert Metric(kind="ttft", margin=3, quantile=0.9).absolute_rate == pytest.approx(0.3)
    assert Metric(kind="ttft", max_rate=0.2).absolute_rate == 0.2


def test_weights_are_percent_of_both_variants():
    assert weights_for(10) == {"stable": 90, "canary": 10}
