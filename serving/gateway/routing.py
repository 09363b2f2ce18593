"""Which variant answers: weights in force, pinned variants and sticky sessions."""

import hmac
from collections.abc import Mapping

from llm_flywheel.serving.gateway.config import RouteConfig, VariantConfig, VariantName, check_weights
from llm_flywheel.serving.gateway.http import Refusal

_ORDER: tuple[VariantName, ...] = ("canary", "stable")


def choose(weights: Mapping[VariantName, int], point: float) -> VariantName:
    """The variant at ``point`` of the line on which every variant takes a stretch as long as its weight.

    The canary comes first: a larger weight moves callers from stable to canary and none the other way.

    Args:
        weights: Per cent per variant, 100 together.
        point: In [0, 100).
    """
    edge = 0.0
    for name in _ORDER:
        edge += weights.get(name, 0)
        if point < edge:
            return name
    raise ValueError(f"point {point} lies beyond the weights {dict(weights)}")


def sticky_point(secret: bytes, model: str, user: str, session: str) -> float:
    """A point in [0, 100) that is always the same for one session of one user, and not guessable (HMAC-SHA256)."""
    message = "\x00".join((model, user, session)).encode("utf-8", "surrogateescape")
    digest = hmac.digest(secret, message, "sha256")
    return int.from_bytes(digest[:6], "big") / 2**48 * 100


class Route:
    """One public model: its variants, and the weights in force."""

    def __init__(self, model: str, config: RouteConfig) -> None:
        self.model = model
        self.by_router = config.split_by == "router"
        self.variants: dict[VariantName, VariantConfig] = dict(config.variants)
        self._weights: dict[VariantName, int] = {name: item.weight for name, item in config.variants.items()}

    @property
    def weights(self) -> dict[VariantName, int]:
        """Per cent per variant, as in force now; those of a router are the router's: a Refusal with status 409."""
        if self.by_router:
            way = next(iter(self.variants.values()))
            raise Refusal(
                409,
                f"the traffic of {self.model!r} is split behind {way.url}: its weights are in the HTTPRoute for host "
                f"{way.host or way.url.partition('://')[2]}",
                code="split_by_router",
            )
        return dict(self._weights)

    def parse_weights(self, values: Mapping[str, object]) -> dict[VariantName, int]:
        """Check new weights without putting them in force; wrong ones are a Refusal with status 400."""
        wrong = {name: value for name, value in values.items() if not isinstance(value, int) or isinstance(value, bool)}
        if wrong:
            raise Refusal(400, f"weights must be whole numbers; got {wrong}", code="invalid_weights")
        found: dict[str, int] = {name: value for name, value in values.items() if isinstance(value, int)}
        problem = check_weights(found, set(self.variants))
        if problem:
            raise Refusal(400, problem, code="invalid_weights")
        return {name: found[name] for name in self.variants}

    def set_weights(self, weights: Mapping[VariantName, int]) -> None:
        """Put checked weights in force for the next request."""
        self._weights = dict(weights)

    def pinned(self, name: str) -> VariantName:
        """The variant a caller asks for; one that the route does not have is a Refusal with status 400."""
        for variant in self.variants:
            if variant == name:
                return variant
        known = ", ".join(sorted(self.variants))
        raise Refusal(400, f"model {self.model!r} has no variant {name!r}, only {known}", code="unknown_variant")
