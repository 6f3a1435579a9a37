"""Replies about roles of models, and about how champion and challenger decided the same requests."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from service.api.schemas.reply import Reply, rounded
from service.models import Models
from service.rollout.decision_log import LoggedDecision, LogQuery
from service.rollout.report import Observed, Report, Share, Side
from service.rollout.roles import Assignment


class RoleModel(Reply):
    """A model in a role. Name and version are null where this process does not know the model."""

    name: str | None
    version: str | None
    digest: str
    loaded: bool

    @classmethod
    def of(cls, digest: str, models: Models) -> Self:
        """Describe a model by its digest."""
        manifest = models.known.get(digest)
        return cls(
            name=manifest.name if manifest else None,
            version=manifest.version if manifest else None,
            digest=digest,
            loaded=models.by_digest(digest) is not None,
        )


class Roles(Reply):
    """Champion and challenger, and since when."""

    champion: RoleModel
    challenger: RoleModel | None
    sample: float = Field(description="Share of the champion's decisions that are kept and compared.")
    action: Literal["settings", "set", "promote", "rollback"] = Field(
        description="What made it so. `settings`: nobody has set roles yet."
    )
    principal: str | None = Field(description="Who made it so; null where the key may not know.")
    at: datetime | None
    can_roll_back: bool

    @classmethod
    def of(cls, roles: Assignment, models: Models, *, named: bool) -> Self:
        """Render an assignment; `named` says whether its reader may know who made it."""
        return cls(
            champion=RoleModel.of(roles.champion, models),
            challenger=None if roles.challenger is None else RoleModel.of(roles.challenger, models),
            sample=roles.sample,
            action=roles.action,
            principal=roles.principal if named else None,
            at=roles.at,
            can_roll_back=roles.previous is not None,
        )


class Proportion(Reply):
    """A count of trials, its share and the share's 95 % Wilson interval; null without trials."""

    count: int
    trials: int
    share: float | None
    ci95: tuple[float, float] | None

    @classmethod
    def of(cls, share: Share) -> Self:
        """Render a share."""
        return cls(count=share.count, trials=share.trials, share=share.value, ci95=share.ci95)


class ObservedErrors(Reply):
    """Errors among the decisions that a client told the truth about."""

    route: Literal["verify", "identify"]
    false_match: Proportion = Field(description="Impostors accepted.")
    false_non_match: Proportion = Field(description="Genuine persons not accepted.")
    promised: float | None = Field(
        description="Rate that the thresholds promise, in the mean over the impostors: the FMR of a verification, the "
        "FPIR of an identification; null when unknown."
    )

    @classmethod
    def of(cls, observed: Observed) -> Self:
        """Render what was observed."""
        return cls(
            route=observed.route,
            false_match=Proportion.of(observed.false_matches),
            false_non_match=Proportion.of(observed.false_non_matches),
            promised=observed.promised,
        )


class ComparedModel(RoleModel):
    """One model of a comparison."""

    seconds: dict[str, float] = Field(description="Time to embed and to compare or search: p50, p95 and p99.")
    observed: list[ObservedErrors] = Field(description="What it got wrong, by kind of decision.")


class DecisionTable(Reply):
    """Cases by what each model decided; an ambiguous identification is no match here."""

    both_match: int
    only_champion: int
    only_challenger: int
    neither: int


class Comparison(Reply):
    """How two models decided the same live requests."""

    cases: int = Field(description="Cases kept that the query chose, one for each face decided.")
    agreement: Proportion = Field(description="The same decision and, where both match, the same subject.")
    decisions: DecisionTable
    correlation: float | None = Field(description="Pearson's, of the two scores; null when they do not vary.")
    champion: ComparedModel
    challenger: ComparedModel | None
    since: datetime | None
    until: datetime | None

    @classmethod
    def of(cls, report: Report, query: LogQuery, models: Models) -> Self:
        """Render the report of a query."""
        return cls(
            cases=report.cases,
            agreement=Proportion.of(report.agreement),
            decisions=DecisionTable(
                both_match=report.table[True, True],
                only_champion=report.table[True, False],
                only_challenger=report.table[False, True],
                neither=report.table[False, False],
            ),
            correlation=report.correlation,
            champion=_compared(query.champion, report.champion, models),
            challenger=None if query.challenger is None else _compared(query.challenger, report.challenger, models),
            since=query.since,
            until=query.until,
        )


class Case(Reply):
    """One decision of the champion and what the challenger made of it. Null: no challenger, or nothing to tell."""

    at: datetime
    request_id: str
    route: Literal["verify", "identify"]
    face: int
    collection: str | None
    champion: str = Field(description="Digest of the model that answered.")
    champion_score: float | None
    champion_threshold: float
    champion_fmr: float | None = Field(description="Promised: the FMR of a verification, the FPIR of a search.")
    champion_decision: str
    champion_rank: int | None = Field(description="Where the champion's list has the challenger's first subject.")
    champion_seconds: float
    challenger: str | None
    challenger_score: float | None
    challenger_threshold: float | None
    challenger_fmr: float | None
    challenger_decision: str | None
    challenger_rank: int | None = Field(description="Where the challenger's list has the champion's first subject.")
    challenger_seconds: float | None
    agree: bool | None
    outcome: Literal["genuine", "impostor"] | None

    @classmethod
    def of(cls, decision: LoggedDecision) -> Self:
        """Render a logged decision: its fields stand side by side here."""
        return cls.model_validate(decision.flat())


def _compared(digest: str, side: Side | None, models: Models) -> ComparedModel:
    role = RoleModel.of(digest, models)
    return ComparedModel(
        **role.model_dump(),
        seconds={} if side is None else rounded(side.seconds),
        observed=[] if side is None else [ObservedErrors.of(observed) for observed in side.observed],
    )
