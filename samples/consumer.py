#!/usr/bin/env python3
"""Reads what became of jobs from RabbitMQ, handles each outcome once, and then acknowledges it.

    consumer.py
    consumer.py --count 2 --state outcomes.db

tanda publishes every outcome at least once. This program keeps the outcomes that it has handled in
a SQLite file, by event_id, and skips what comes again. Yours would keep them in its own database,
in the same transaction as what it does about them. Without --state they are forgotten at the end.

Exit code 0: stopped by --count or ctrl-c. 1: the broker went away, or a message is of a shape that
this program does not know; it stays in the queue.

Needs pika (Debian: python3-pika).
"""

import argparse
import json
import os
import sqlite3
import sys

import pika
import pika.exceptions

WHAT_TO_DO = {
    "succeeded": "paid: book it",
    "rejected": "not paid: read the bank's words, mend the cause, redrive",
    "not_sent": "not paid: read the reason; redrive to pay it after all",
    "invalid": "not a job: mend the message and publish it again",
    "conflict": "this copy was not sent: look at the job that has this entity_id",
    "in_doubt": "wait: it may be paid, so never pay it another way",
    "waiting": "wait: it was not sent yet",
}
# Facts about a message. They change nothing about the job of that name.
ABOUT_A_MESSAGE = ("invalid", "conflict")


class UnknownShape(Exception):
    """A message that this program must not acknowledge, because it cannot read it."""


def open_state(path):
    state = sqlite3.connect(path)
    state.execute(
        "CREATE TABLE IF NOT EXISTS outcomes (event_id TEXT PRIMARY KEY, entity_id TEXT,"
        " generation INTEGER, seq INTEGER, status TEXT, body TEXT)"
    )
    return state


def read(body):
    try:
        outcome = json.loads(body)
        if outcome["schema"] == "tanda.outcome.v1" and outcome["status"] in WHAT_TO_DO:
            return outcome
    except (ValueError, TypeError, KeyError):
        pass
    raise UnknownShape(body[:80])


def is_overtaken(state, outcome):
    """Whether something newer is known of the same job: it came first, this came late."""
    if outcome["status"] in ABOUT_A_MESSAGE:
        return False
    newer = state.execute(
        "SELECT 1 FROM outcomes WHERE entity_id = ? AND status NOT IN (?, ?)"
        " AND (generation, seq) > (?, ?)",
        (outcome["entity_id"], *ABOUT_A_MESSAGE, outcome["generation"], outcome["seq"]),
    )
    return newer.fetchone() is not None


def line(outcome, overtaken):
    amount = outcome["amount"] or {"amount": "-", "currency": "-"}
    words = [
        f"{outcome['status']:<9}",
        outcome["entity_id"] or "-",
        outcome["operation"] or "-",
        f"{amount['amount']} {amount['currency']} (minor units)",
    ]
    errors = (outcome["bank"] or {}).get("errors") or []
    why = [outcome["reason"], *(error["error_code"] for error in errors)]
    words += [f"[{word}]" for word in why if word]
    words.append("late: something newer holds" if overtaken else WHAT_TO_DO[outcome["status"]])
    return "  ".join(words)


def handle(state, outcome):
    """Handles an outcome, once; returns whether it was new."""
    with state:  # commits, unless something goes wrong
        added = state.execute(
            "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?, ?)",
            (
                outcome["event_id"],
                outcome["entity_id"],
                outcome["generation"],
                outcome["seq"],
                outcome["status"],
                json.dumps(outcome),
            ),
        )
        if added.rowcount == 0:
            return False
        # Before the commit: after a crash, a line twice is better than a line never.
        print(line(outcome, is_overtaken(state, outcome)), flush=True)
    return True


def broker(url):
    try:
        return pika.URLParameters(url)
    except (ValueError, IndexError):
        # Not the text itself: there may be a password in it.
        raise argparse.ArgumentTypeError("is not like amqp://USER:PASSWORD@HOST:5672/%2F") from None


def arguments():
    options = argparse.ArgumentParser(description="Reads what became of jobs from RabbitMQ.")
    options.add_argument(
        "--url",
        type=broker,
        default=os.environ.get("TANDA_AMQP__URL", "amqp://guest:guest@127.0.0.1:5672/%2F"),
        help="the broker; better from TANDA_AMQP__URL, for others can see a command line",
    )
    options.add_argument("--queue", default="tanda.results")
    options.add_argument("--count", type=int, help="stop after so many outcomes that are new")
    options.add_argument("--state", default=":memory:", metavar="FILE", help="what was handled")
    return options.parse_args()


def main():
    options = arguments()
    state = open_state(options.state)
    new = again = 0
    try:
        connection = pika.BlockingConnection(options.url)
        channel = connection.channel()
        channel.basic_qos(prefetch_count=100)
        for delivery, _properties, body in channel.consume(options.queue):
            if handle(state, read(body)):
                new += 1
            else:
                again += 1
            channel.basic_ack(delivery.delivery_tag)
            if new == options.count:
                break
        else:
            print(f"{options.queue} is gone: the broker ended the stream", file=sys.stderr)
            return 1
        channel.cancel()  # gives back what was fetched and not handled
        connection.close()
    except KeyboardInterrupt:
        pass
    except UnknownShape as what:
        print(f"not a tanda.outcome.v1, left in {options.queue}: {what}", file=sys.stderr)
        return 1
    except (pika.exceptions.AMQPError, OSError) as fault:
        print(f"the broker: {fault!r}", file=sys.stderr)
        return 1
    finally:
        print(f"{new} new, {again} seen before", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
