"""The ledger itself: where it stands, and what this process counts of its work."""

from datetime import UTC, datetime

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import UNAVAILABLE
from api.metrics import CONTENT_TYPE
from projections.head import read_head
from projections.service_states import count_notifications, read_services

endpoints = Endpoints()


@endpoints.add(
    "GET", "/ledger/head", "Where the ledger stands: its last position, and the hash that all events go into"
)
async def head(call: Call) -> Answer:
    head = await call.services.reads.run(read_head)
    return answer(
        {
            "position": head.position,
            "hash": head.hash.hex(),
            "recorded_at": head.recorded_at,
            "ledger_id": head.ledger_id,
        }
    )


@endpoints.add("GET", "/metrics", "What this process counts and what it knows of the ledger, as Prometheus reads it")
async def metrics(call: Call) -> Answer:
    services = call.services
    try:
        head, known = await services.reads.run(read_head), await services.reads.run(read_services)
        notifications = await services.reads.run(count_notifications)
    except UNAVAILABLE:
        # What the process knows by itself is worth the more now.
        head, known, notifications = None, b"[]", {}
    page = services.metrics.page(
        waiting=services.queue.waiting,
        pool=services.reads.usage(),
        readers=services.tail.readers,
        head=head,
        services=known,
        now=datetime.now(UTC),
        notifications=notifications,
    )
    return Answer(page, content_type=CONTENT_TYPE)
