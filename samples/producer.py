#!/usr/bin/env python3
"""Puts jobs for tanda on RabbitMQ and knows of each whether the broker has it.

    producer.py samples/jobs/topup.json
    producer.py samples/payroll.csv
    producer.py --entity-id TRY-0003 --card-id car_5tgliBmzjZ6mpQPRbQjfKj \\
        --operation topup --amount-minor 5000000

A CSV file has the columns entity_id, card_id, operation, currency, and amount_minor (cents) or
amount (1423500.00); description and not_after are optional. Every file is read before anything is
published. Jobs go out one after another on one channel, so those of one card keep their order.

Exit code 0: all are confirmed. 1: not all; run it again as it is, for what had been confirmed
before moves no money twice. 2: bad input, nothing was published.

Needs pika (Debian: python3-pika).
"""

import argparse
import csv
import json
import os
import re
import sys
import time

import pika
import pika.exceptions

COLUMNS = {
    "entity_id",
    "card_id",
    "operation",
    "amount",
    "amount_minor",
    "currency",
    "description",
    "not_after",
}


class BadInput(Exception):
    """What was asked for cannot be made into jobs."""


def minor_units(row):
    """Cents, without a float in between and without a guess about 50.000."""
    if row.get("amount_minor"):
        if re.fullmatch(r"[0-9]+", row["amount_minor"]):
            return int(row["amount_minor"])
        raise BadInput(f"amount_minor {row['amount_minor']!r} is not a whole number")
    amount = row.get("amount") or ""
    if re.fullmatch(r"[0-9]+\.[0-9]{2}", amount):
        return int(amount.replace(".", ""))
    raise BadInput(f"amount {amount!r} is not like 1423500.00")


def job_of(row):
    job = {
        "entity_id": row["entity_id"],
        "card_id": row["card_id"],
        "operation": row["operation"],
        "amount": {"amount": minor_units(row), "currency": row["currency"]},
    }
    for name in ("description", "not_after"):
        if row.get(name):
            job[name] = row[name]
    return job


def message(job, **headers):
    return job["entity_id"], json.dumps(job, ensure_ascii=False).encode("utf-8"), headers


def read_csv(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        columns = rows.fieldnames or []
        unknown = set(columns) - COLUMNS
        if unknown or len(set(columns)) != len(columns):
            raise BadInput(f"{path}: columns not as they must be: {', '.join(columns)}")
        for row in rows:
            try:
                if None in row or None in row.values():
                    raise BadInput("too many or too few fields")
                yield message(job_of(row), line=rows.line_num)
            except KeyError as missing:
                raise BadInput(f"{path}: column {missing} is missing") from None
            except BadInput as why:
                raise BadInput(f"{path}:{rows.line_num} {why}") from None


def read_json(path):
    with open(path, "rb") as file:
        body = file.read()
    job = json.loads(body)
    if not isinstance(job, dict) or "entity_id" not in job:
        raise BadInput(f"{path}: not a job")
    yield job["entity_id"], body, {}  # the bytes as they are


def read_jobs(options):
    if options.entity_id:
        yield message(job_of(vars(options)))
    for path in options.files:
        try:
            yield from (read_csv if path.endswith(".csv") else read_json)(path)
        except (OSError, ValueError, csv.Error) as why:
            raise BadInput(f"{path}: {why}") from None


def connect(parameters):
    # A broker that is short of memory or disk stops reading; say so instead of waiting for ever.
    parameters.blocked_connection_timeout = 60
    return pika.BlockingConnection(parameters)


def publish(channel, options, body, headers):
    """Returns once the broker has confirmed the job; else raises a pika exception."""
    if options.batch_id:
        headers = {**headers, "batch_id": options.batch_id}
    channel.basic_publish(
        exchange=options.exchange,
        routing_key=options.routing_key,
        body=body,
        properties=pika.BasicProperties(
            type="tanda.job.v1",
            content_type="application/json",
            delivery_mode=2,
            timestamp=int(time.time()),
            correlation_id=options.correlation_id,
            reply_to=options.reply_to,
            headers=headers,
        ),
        mandatory=True,
    )


def in_words(fault):
    if isinstance(fault, pika.exceptions.UnroutableError):
        return "returned: no queue is bound there (tanda topology --declare)"
    if isinstance(fault, pika.exceptions.NackError):
        return "refused by the broker: the queue may be full"
    if isinstance(fault, pika.exceptions.ChannelClosedByBroker):
        return f"refused by the broker: {fault.reply_text}"
    return f"{fault!r}; the broker may have it or not"


def broker(url):
    try:
        return pika.URLParameters(url)
    except (ValueError, IndexError):
        # Not the text itself: there may be a password in it.
        raise argparse.ArgumentTypeError("is not like amqp://USER:PASSWORD@HOST:5672/%2F") from None


def arguments():
    options = argparse.ArgumentParser(description="Puts jobs for tanda on RabbitMQ.")
    options.add_argument("files", nargs="*", metavar="FILE", help="a CSV file, or a job in JSON")
    options.add_argument(
        "--url",
        type=broker,
        default=os.environ.get("TANDA_AMQP__URL", "amqp://guest:guest@127.0.0.1:5672/%2F"),
        help="the broker; better from TANDA_AMQP__URL, for others can see a command line",
    )
    options.add_argument("--exchange", default="tanda.jobs")
    options.add_argument("--routing-key", default="job")
    options.add_argument("--batch-id", help="comes back in the outcomes")
    options.add_argument("--correlation-id", help="comes back with the outcomes")
    options.add_argument("--reply-to", help="a queue that gets a copy of the outcomes")
    one = options.add_argument_group("one job, in place of a file")
    one.add_argument("--entity-id", help="its name for ever: a new name is a new payment")
    one.add_argument("--card-id")
    one.add_argument("--operation", choices=["topup", "withdrawal"])
    one.add_argument("--amount-minor", help="in cents")
    one.add_argument("--currency", default="COP")
    one.add_argument("--description")
    one.add_argument("--not-after", help="such as 2026-11-30T23:59:59-05:00")
    found = options.parse_args()
    if bool(found.files) == bool(found.entity_id):
        options.error("give files, or --entity-id and the rest of one job")
    if found.entity_id and not (found.card_id and found.operation and found.amount_minor):
        options.error("one job needs --card-id, --operation and --amount-minor too")
    return found


def main():
    options = arguments()
    try:
        jobs = list(read_jobs(options))
    except BadInput as why:
        print(f"{why}; nothing was published", file=sys.stderr)
        return 2

    try:
        connection = connect(options.url)
    except (pika.exceptions.AMQPError, OSError) as fault:
        print(f"no connection: {fault!r}; nothing was published", file=sys.stderr)
        return 1

    confirmed = 0
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        for entity_id, body, headers in jobs:
            publish(channel, options, body, headers)
            confirmed += 1
            print(f"confirmed {entity_id}", flush=True)
        connection.close()
    except (pika.exceptions.AMQPError, OSError) as fault:
        # Stop here: what comes next for the same card must not overtake this one.
        if confirmed < len(jobs):
            print(f"not confirmed {jobs[confirmed][0]}: {in_words(fault)}", file=sys.stderr)
    print(f"{confirmed} of {len(jobs)} confirmed", file=sys.stderr)
    return 0 if confirmed == len(jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
