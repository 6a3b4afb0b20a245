#!/usr/bin/env python3
"""Tries what the accounts of demo-accounts.json may do and may not do, on a real RabbitMQ.

    check_permissions.py [HOST:PORT]

For a RabbitMQ with demo-accounts.json and definitions.json loaded, without a worker and without
messages: it publishes, reads and purges. Exit code 0: every right is as the table says.

Needs pika (Debian: python3-pika).
"""

import sys

import pika
import pika.exceptions

PERSISTENT = pika.BasicProperties(delivery_mode=2)
NAMES = ("tanda.jobs", "tanda.results", "tanda.dead")


def publish(exchange, key):
    def attempt(channel):
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"{}", PERSISTENT, mandatory=True)

    return f"publish to {exchange or 'the default exchange'} as {key}", attempt


def get(queue):
    return f"read {queue}", lambda channel: channel.basic_get(queue, auto_ack=True)


def consume(queue):
    def attempt(channel):
        tag = channel.basic_consume(queue, lambda *_: None)
        channel.basic_cancel(tag)

    return f"consume {queue}", attempt


def purge(queue):
    return f"purge {queue}", lambda channel: channel.queue_purge(queue)


def delete(queue):
    return f"delete {queue}", lambda channel: channel.queue_delete(queue)


def delete_exchange(name):
    return f"delete the exchange {name}", lambda channel: channel.exchange_delete(name)


def declare(queue, **options):
    return f"declare {queue}", lambda channel: channel.queue_declare(queue, **options)


def declare_exchange(name):
    return f"declare the exchange {name}", lambda channel: channel.exchange_declare(name, "topic")


def look(name):
    def attempt(channel):
        channel.exchange_declare(name, passive=True)
        channel.queue_declare(name, passive=True)

    return f"look for {name}", attempt


def bind(queue, exchange):
    return f"bind {queue} to {exchange}", lambda channel: channel.queue_bind(queue, exchange, "x")


def unbind(queue, exchange):
    return f"unbind {queue}", lambda channel: channel.queue_unbind(queue, exchange, "#")


LOCK = declare("tanda.lock", exclusive=True)
# What nobody but an administrator may do, whatever else they may.
NOBODY = [
    declare("theirs"),
    declare_exchange("theirs"),
    *(delete(name) for name in NAMES),
    *(delete_exchange(name) for name in NAMES),
    *(bind(name, "amq.topic") for name in NAMES),
    unbind("tanda.results", "tanda.results"),
    unbind("tanda.dead", "tanda.dead"),
    purge("tanda.dead"),
]

RIGHTS = {
    "demo-worker": {
        True: [
            LOCK,
            *(look(name) for name in NAMES),
            consume("tanda.jobs"),
            publish("tanda.results", "succeeded"),
            publish("tanda.dead", "rejected"),
            # For reply_to.
            publish("", "tanda.dead"),
            # RabbitMQ knows one right for reading and purging,
            purge("tanda.jobs"),
            # and one for a queue and an exchange of one name.
            bind("tanda.results", "tanda.jobs"),
            ("take that back", lambda channel: channel.queue_unbind("tanda.results", "tanda.jobs", "x")),
        ],
        False: [
            *NOBODY,
            publish("tanda.jobs", "job"),
            get("tanda.results"),
            get("tanda.dead"),
            purge("tanda.results"),
            declare("tanda.jobs", durable=True, arguments={"x-queue-type": "quorum"}),
        ],
    },
    "demo-producer": {
        True: [publish("tanda.jobs", "job")],
        False: [
            *NOBODY,
            LOCK,
            consume("tanda.jobs"),
            *(get(name) for name in NAMES),
            purge("tanda.jobs"),
            purge("tanda.results"),
            publish("tanda.results", "succeeded"),
            publish("tanda.dead", "rejected"),
            publish("", "tanda.results"),
        ],
    },
    "demo-consumer": {
        True: [
            consume("tanda.results"),
            get("tanda.results"),
            # One right, as above.
            purge("tanda.results"),
        ],
        False: [
            *NOBODY,
            LOCK,
            get("tanda.jobs"),
            get("tanda.dead"),
            purge("tanda.jobs"),
            publish("tanda.jobs", "job"),
            publish("tanda.results", "succeeded"),
            publish("tanda.dead", "rejected"),
            publish("", "tanda.jobs"),
        ],
    },
    # Last, for it leaves nothing behind.
    "demo-admin": {True: [purge(name) for name in NAMES], False: []},
}


def is_allowed(address, account, attempt):
    """Each attempt has a connection of its own: a refusal closes the channel."""
    url = f"amqp://{account}:{account}@{address}/%2F"
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        attempt(connection.channel())
        return True
    except pika.exceptions.ChannelClosedByBroker as refusal:
        if refusal.reply_code != 403:
            raise
        return False
    finally:
        connection.close()


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5672"
    tried = wrong = 0
    for account, rights in RIGHTS.items():
        for expected, attempts in rights.items():
            for name, attempt in attempts:
                tried += 1
                if is_allowed(address, account, attempt) != expected:
                    wrong += 1
                    print(f"WRONG {account} {'cannot' if expected else 'can'} {name}")
    print(f"{tried} tried, {wrong} wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
