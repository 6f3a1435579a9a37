"""People enrolled through a running service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from service.bulk.enrolment import Batch, Choices, Verdict
from service.bulk.server import Refusal, Reply, Server

ALONE = frozenset({"duplicate_subject", "enrolment_erased", "name_invalid", "idempotency_conflict"})
"""Refusals that are about the person: photographs sent one by one would meet them too."""


class ServerEnroller:
    """Enrols over HTTP; safe to use from many threads at once."""

    def __init__(self, server: Server, choices: Choices) -> None:
        """Take the service, and what is asked of every enrolment."""
        self._server = server
        self._fields = choices.fields()
        self.target = f"{server.address} {choices.collection}"

    def enroll(self, batch: Batch) -> Sequence[Verdict]:
        """Enrol a batch, or its photographs one by one where one of them makes the service refuse them all.

        Raises:
            BulkError: The service refuses everything, or does not answer.
        """
        fields: dict[str, Any] = {"subject": batch.person.name, **self._fields}
        if batch.person.metadata:
            fields["metadata"] = json.dumps(dict(batch.person.metadata), ensure_ascii=False)
        if batch.person.expires_at is not None:
            fields["expires_at"] = batch.person.expires_at.isoformat()
        try:
            reply = self._server.post("/v1/enroll", fields, [("images", image) for image in batch.images], batch.key)
        except Refusal as refusal:
            if refusal.code == "enrolment_refused":
                return _verdicts_of(refusal.problem["images"], len(batch.images))
            if len(batch.images) == 1 or refusal.code in ALONE:
                return [_refused(refusal.problem)] * len(batch.images)
            singles = [
                replace(batch, images=(image,), key=f"{batch.key}-{number}")
                for number, image in enumerate(batch.images)
            ]
            return [verdict for single in singles for verdict in self.enroll(single)]
        others = [(each["subject"], each["score"]) for each in reply["duplicates"]]
        return [
            Verdict.enrolled(image["face_id"], others) if image["problem"] is None else _refused(image["problem"])
            for image in reply["images"]
        ]


def _verdicts_of(problems: Sequence[Reply], count: int) -> list[Verdict]:
    by_image = {problem["image"]: _refused(problem) for problem in problems}
    return [by_image[f"images[{number}]"] for number in range(count)]


def _refused(problem: Reply) -> Verdict:
    detail = problem.get("detail")
    if errors := problem.get("errors"):
        detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return Verdict(None, str(problem["code"]), detail, tuple(problem.get("reasons", ())))
