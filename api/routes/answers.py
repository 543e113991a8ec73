"""Answers that several resources share."""

from dataclasses import asdict

from api.answer import Answer, answer
from domain.commands.command import Answer as CommandAnswer
from domain.commands.command import Explanation, Made, OrchestrationResult
from projections.documents import as_json


def made(result: CommandAnswer) -> Answer:
    """201 with what was made, 200 with what was there."""
    if not isinstance(result, Made):
        raise TypeError("A creation is answered by what was made")
    return Answer(result.document, 201 if result.created else 200)


def orchestrated(result: CommandAnswer) -> Answer:
    """201 where a new state was set, else 200; the body says ACCEPT, REJECT, WAIT or ABORT, the state and why."""
    if not isinstance(result, OrchestrationResult):
        raise TypeError("A proposal is answered by a verdict")
    body = as_json({"state": result.state, "status": result.status, "details": result.details})
    return Answer(body, 201 if result.wrote else 200)


def explained(result: CommandAnswer) -> Answer:
    """What would become of a proposal, by which policy and rule, and what every rule said in order."""
    if not isinstance(result, Explanation):
        raise TypeError("The question what would become of a proposal is answered by an explanation")
    verdict = {"state": result.result.state, "status": result.result.status, "details": result.result.details}
    body = {**verdict, "policy": result.policy, "rule": result.rule, "rules": [asdict(o) for o in result.opinions]}
    return Answer(as_json(body))


def found(document: bytes | None, kind: str) -> Answer:
    """The document of one thing, or 404 that says which kind of thing there is not."""
    return answer({"detail": f"{kind} not found"}, 404) if document is None else Answer(document)
