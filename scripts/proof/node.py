"""A RabbitMQ node of one's own: its own folder, cookie, ports and epmd, gone when it is stopped."""

import os
import pathlib
import signal
import socket
import subprocess
import time

BIN = pathlib.Path("/usr/lib/rabbitmq/bin")
START_LIMIT_S = 60


def free_ports(count):
    """Ports that nobody listens on, all held until the last is found so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


class Node:
    def __init__(self, folder):
        for name in ("home", "log", "mnesia", "etc"):
            (folder / name).mkdir(parents=True)
        (folder / "etc/enabled_plugins").write_text("[].\n")
        # On a small disk the default limit would raise the alarm that holds publishers back.
        (folder / "etc/rabbitmq.conf").write_text("disk_free_limit.absolute = 50MB\n")
        self.folder = folder
        self.port, distribution, epmd = free_ports(3)
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": "proof@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "etc/enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "etc/rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The start script then becomes the node instead of waiting for it: its pid is ours.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        # Started here, epmd is a child to be killed by its pid; the node would leave one behind.
        self.epmd = subprocess.Popen(
            ["epmd", "-port", str(epmd), "-address", "127.0.0.1"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.process = None
        self.start()

    def start(self):
        with open(self.folder / "log/stdout", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "rabbitmq-server"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self.speaks():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the broker did not start: see {self.folder}/log")
            time.sleep(0.05)

    def speaks(self):
        """Whether it answers in AMQP; it listens a little before it does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as line:
                line.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(line.recv(1))
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=START_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self.epmd.kill()
        self.epmd.wait()

    def queues(self):
        """What each queue holds, as (ready, unacknowledged)."""
        words = ["--silent", "list_queues", "name", "messages_ready", "messages_unacknowledged"]
        command = [BIN / "rabbitmqctl", *words]
        lines = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        rows = [line.split("\t") for line in lines]
        return {name: (int(ready), int(unacked)) for name, ready, unacked in rows}
