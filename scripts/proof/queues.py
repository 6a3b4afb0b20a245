"""Talking to the broker with pika: publish all with confirms in flight, take all there is."""

import collections
import contextlib
import dataclasses
import itertools
import time

import pika

JOBS, RESULTS, DEAD = "tanda.jobs", "tanda.results", "tanda.dead"
# Confirms outstanding at most: one at a time costs a tenfold.
WINDOW = 1_000


@dataclasses.dataclass(frozen=True)
class Taken:
    routing_key: str
    body: bytes
    headers: dict
    message_id: str = ""
    type: str = ""


def parameters(port):
    return pika.ConnectionParameters("127.0.0.1", port, heartbeat=0, socket_timeout=30)


class Publisher:
    """Publishes bodies to the jobs exchange in their order, on one channel."""

    PROPERTIES = pika.BasicProperties(
        content_type="application/json", delivery_mode=2, type="tanda.job.v1"
    )

    def __init__(self, port, bodies):
        self.bodies = collections.deque(bodies)
        # Tags in their order; the values mean nothing.
        self.unconfirmed = {}
        self.tag = 0
        self.fault = None
        self.connection = pika.SelectConnection(
            parameters(port),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.opened),
            on_open_error_callback=self.ended,
            on_close_callback=self.ended,
        )

    def run(self):
        self.connection.ioloop.start()
        if self.fault or self.bodies or self.unconfirmed:
            raise SystemExit(f"not every job could be published: {self.fault}")

    def ended(self, connection, reason):
        if self.bodies or self.unconfirmed:
            self.fault = self.fault or reason
        connection.ioloop.stop()

    def opened(self, channel):
        self.channel = channel
        channel.add_on_return_callback(lambda *words: self.fail("returned", words[1]))
        channel.add_on_close_callback(lambda _, reason: self.fail("closed", reason))
        channel.confirm_delivery(self.confirmed, callback=lambda _: self.more())

    def fail(self, what, why):
        if self.bodies or self.unconfirmed:
            self.fault = f"{what}: {why}"
            self.connection.close()

    def more(self):
        while self.bodies and len(self.unconfirmed) < WINDOW:
            self.channel.basic_publish(
                JOBS, "job", self.bodies.popleft(), self.PROPERTIES, mandatory=True
            )
            self.tag += 1
            self.unconfirmed[self.tag] = None
        if not self.unconfirmed and self.connection.is_open:
            self.connection.close()

    def confirmed(self, frame):
        method = frame.method
        if isinstance(method, pika.spec.Basic.Nack):
            self.fail("nacked", method)
            return
        if method.multiple:
            tags = itertools.takewhile(lambda tag: tag <= method.delivery_tag, self.unconfirmed)
            for tag in list(tags):
                del self.unconfirmed[tag]
        else:
            del self.unconfirmed[method.delivery_tag]
        self.more()


class Drain:
    """Takes whatever comes to the results and the dead letters."""

    def __init__(self, port):
        self.results, self.dead = [], []
        self.connection = pika.BlockingConnection(parameters(port))
        self.channel = self.connection.channel()
        for queue, taken in ((RESULTS, self.results), (DEAD, self.dead)):
            self.channel.basic_consume(queue, self.into(taken), auto_ack=True)

    @staticmethod
    def into(taken):
        def take(_channel, method, properties, body):
            headers = properties.headers or {}
            words = (properties.message_id or "", properties.type or "")
            taken.append(Taken(method.routing_key, body, headers, *words))

        return take

    def wait(self, seconds):
        self.connection.process_data_events(time_limit=seconds)

    def close(self):
        self.connection.close()


# A queue of a broker that has just started counts nothing for a moment.
LOOKS, LOOK_EVERY_S = 4, 0.5


def is_drained(port):
    """Whether no job waits that no worker has taken yet."""
    for look in range(LOOKS):
        if waiting(port):
            return False
        if look + 1 < LOOKS:
            time.sleep(LOOK_EVERY_S)
    return True


def waiting(port):
    """Jobs that no worker has taken yet."""
    with contextlib.closing(pika.BlockingConnection(parameters(port))) as connection:
        return connection.channel().queue_declare(JOBS, passive=True).method.message_count
