"""The series of champion and challenger."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.metrics import STAGE_SECONDS, LabelledGauge, Sample, register_gauge
from service.observation import DecisionEvent, GroundTruth
from service.rollout.model_decision import ModelDecision
from service.rollout.roles import Roles

DIFFERENCES = (-0.5, -0.3, -0.2, -0.15, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


class RolloutMetrics:
    """Counts what champion and challenger made of the same probes, and, as an observer, what clients said was true."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the series."""
        pair = ("route", "champion", "challenger")
        self._both = Counter(
            "facet_comparisons_total",
            "Decisions that champion and challenger both made.",
            (*pair, "champion_decision", "challenger_decision", "agree"),
            registry=registry,
        )
        self._differences = Histogram(
            "facet_comparison_score_difference",
            "Score of the challenger less that of the champion.",
            pair,
            buckets=DIFFERENCES,
            registry=registry,
        )
        self._seconds = Histogram(
            "facet_comparison_seconds",
            "Time to embed and to compare or search, in each role.",
            ("route", "role", "model"),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._dropped = Counter(
            "facet_shadow_dropped_total",
            "Sampled decisions that the challenger did not decide.",
            ("reason",),
            registry=registry,
        )
        self._outcomes = Counter(
            "facet_comparison_outcomes_total",
            "Decisions that a client told the truth about.",
            ("route", "role", "model", "outcome", "accepted"),
            registry=registry,
        )

    def observe(self, event: DecisionEvent) -> None:
        """Count a decision that a client told the truth about."""
        if isinstance(truth := event.decision, GroundTruth):
            for each in truth.acceptances:
                accepted = "yes" if each.accepted else "no"
                self._outcomes.labels(truth.route, each.role, each.model, truth.outcome, accepted).inc()

    def count_both(
        self, route: str, names: tuple[str, str], champion: ModelDecision, challenger: ModelDecision
    ) -> None:
        """Count what champion and challenger, so named, decided of one probe."""
        agree = "yes" if champion.agrees(challenger) else "no"
        self._both.labels(route, *names, champion.decision, challenger.decision, agree).inc()
        if champion.score is not None and challenger.score is not None:
            self._differences.labels(route, *names).observe(challenger.score - champion.score)
        for role, name, decision in zip(("champion", "challenger"), names, (champion, challenger), strict=True):
            self._seconds.labels(route, role, name).observe(decision.seconds)

    def count_dropped(self, reason: str) -> None:
        """Count a sampled decision that the challenger did not decide."""
        self._dropped.labels(reason).inc()


def register_roles(registry: CollectorRegistry, roles: Roles, waiting: Callable[[], int]) -> None:
    """Register gauges of who is champion and challenger, and of how many decisions wait to be compared."""

    def info() -> list[Sample]:
        current = roles.current()
        digests = (("champion", current.champion), ("challenger", current.challenger))
        return [((role, roles.name_of(digest), digest), 1) for role, digest in digests if digest is not None]

    about = "Models in their roles; always 1."
    registry.register(LabelledGauge("facet_role_info", about, ("role", "model", "digest"), info))
    share = "Share of decisions sampled for comparison."
    registry.register(LabelledGauge("facet_role_sample", share, (), lambda: [((), roles.current().sample)]))
    register_gauge(registry, "facet_shadow_queue_depth", "Sampled decisions waiting to be compared.", waiting)
