"""What an evaluation leaves: rows as a manifest holds them, details beside, as JSON and as a printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.face.manifest import Result
from service.measures.intervals import Estimate
from service.measures.thresholds import Scores


@dataclass(frozen=True, slots=True)
class Report:
    """Measured rows of one model under one protocol, with the scores behind them for plots."""

    model: str
    digest: str
    protocol: str
    rows: tuple[Result, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    genuine: Scores = field(default_factory=lambda: np.empty(0))
    impostor: Scores = field(default_factory=lambda: np.empty(0))

    def as_json(self) -> dict[str, Any]:
        """Everything but the scores."""
        return {
            "model": self.model,
            "digest": self.digest,
            "protocol": self.protocol,
            "results": [row.model_dump() for row in self.rows],
            "details": dict(self.details),
        }


def row(protocol: str, metric: str, estimate: Estimate) -> Result:
    """One row as manifests hold it."""
    return Result(protocol=protocol, metric=metric, value=estimate.value, ci95=estimate.ci95, trials=estimate.trials)


def table(reports: Sequence[Report]) -> str:
    """A plain table: model, protocol, metric, value, interval, trials."""
    lines = [("model", "protocol", "metric", "value", "95 % interval", "trials")]
    for report in reports:
        for result in report.rows:
            interval = f"{result.ci95[0]:.4f} .. {result.ci95[1]:.4f}" if result.ci95 is not None else "-"
            lines.append(
                (report.model, result.protocol, result.metric, f"{result.value:.4f}", interval, str(result.trials))
            )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
