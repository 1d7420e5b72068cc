"""Celery on RabbitMQ, with pymongo: a prefork worker, acknowledging late, as its documentation recommends.

Celery's queues hold messages of its own protocol. A consumer step in the worker, which is its documented way to take
other messages, makes a task of each event. `python -m tests.bench.peers.celery_usual`, with the product's environment
variables.
"""

from __future__ import annotations

import json
import logging
import os
import smtplib
from datetime import UTC, datetime
from typing import Any, cast

from celery import Celery, bootsteps, signals
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import ConnectionFailure, DuplicateKeyError

from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.peers import usual
from tests.bench.peers.usual import UserCreated

# The best of 2, 4, 8 and 16 processes that take 1, 4 or 16 messages each, on two cores.
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "4"))
MESSAGES_EACH = int(os.environ.get("BENCH_PREFETCH", "4"))
MESSAGES_AT_A_TIME = 100

app = Celery("peer", broker=os.environ["CONVIVE_AMQP_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue=f"celery.{os.environ['CONVIVE_INVITATION_DATABASE']}",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_concurrency=PROCESSES,
    worker_prefetch_multiplier=MESSAGES_EACH,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)
exchange = Exchange(usual.EXCHANGE, type="topic", passive=True, durable=True)


class Held:
    """What each process of the pool keeps: connections must not be made before the fork."""

    invitations: Collection[dict[str, Any]]
    smtp: smtplib.SMTP | None = None

    def connected(self) -> smtplib.SMTP:
        if self.smtp is None:
            self.smtp = smtplib.SMTP(os.environ["CONVIVE_SMTP_HOST"], int(os.environ["CONVIVE_SMTP_PORT"]), timeout=30)
        return self.smtp


held = Held()


def invitations() -> Collection[dict[str, Any]]:
    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["CONVIVE_MONGO_URL"], w="majority", tz_aware=True)
    return client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]


@signals.worker_init.connect
def prepare(**_: object) -> None:
    collection = invitations()
    collection.create_indexes(list(INDEXES))
    collection.database.client.close()


@signals.worker_process_init.connect
def connect(**_: object) -> None:
    held.invitations = invitations()


@app.task(
    name="user_created",
    pydantic=True,
    autoretry_for=(smtplib.SMTPException, OSError, ConnectionFailure),
    retry_backoff=True,
)
def user_created(event: UserCreated) -> None:
    id, now = usual.invitation_id(event), datetime.now(UTC)
    expires_at = now + usual.LINK_LIFE
    try:
        held.invitations.insert_one(usual.document(event, id, now))
    except DuplicateKeyError:
        known = held.invitations.find_one({"_id": id}, {"state": 1})
        if known is None or known["state"] != "pending":
            return

    try:
        held.connected().send_message(usual.message(event, id, expires_at))
    except (smtplib.SMTPServerDisconnected, OSError):
        held.smtp = None
        raise

    sent_at = datetime.now(UTC)
    held.invitations.update_one({"_id": id, "state": "pending"}, usual.update(sent_at, expires_at))
    sent = usual.invitation_sent(event, id, sent_at, expires_at)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            sent.model_dump_json(),
            exchange=exchange,
            routing_key=usual.ROUTING_KEY,
            delivery_mode="persistent",
            content_type=usual.CONTENT_TYPE,
            content_encoding="utf-8",
            message_id=sent.id,
            retry=True,
        )


class Events(bootsteps.ConsumerStep):
    """Makes a task of each event; the event is acknowledged when the broker has confirmed the task."""

    def get_consumers(self, channel: Any) -> list[Consumer]:
        queue = Queue(usual.EVENTS, no_declare=True)
        return [Consumer(channel, [queue], on_message=self.taken, prefetch_count=MESSAGES_AT_A_TIME)]

    def taken(self, message: Any) -> None:
        try:
            cast("Any", user_created).delay(json.loads(message.body))
        except ValueError:
            logging.getLogger("peer").exception("an event that cannot be read")
            message.reject()
        else:
            message.ack()


cast("Any", app.steps)["consumer"].add(Events)

if __name__ == "__main__":
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )
