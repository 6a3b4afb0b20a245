"""TCP proxies that hurt: one cuts connections at a chosen byte, one loses a card's answers."""

import asyncio
import re
import threading


class Proxy:
    """Relays connections to a port of this machine, in a thread of its own."""

    def __init__(self, target):
        self.target = target
        self.port = None
        self.loop = asyncio.new_event_loop()
        listening = threading.Event()

        async def listen():
            server = await asyncio.start_server(self.relay, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()

        def run():
            self.loop.create_task(listen())
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        listening.wait()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def relay(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        line = {}
        pumps = {
            asyncio.create_task(self.pump(line, "up", reader, far_writer)),
            asyncio.create_task(self.pump(line, "down", far_reader, writer)),
        }
        done, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in left:
            pump.cancel()
        cut = any(pump.result() for pump in done)
        for end in (writer, far_writer):
            end.transport.abort() if cut else end.close()

    async def pump(self, line, direction, reader, writer):
        """Passes bytes on until the end; whether that was a cut."""
        try:
            while data := await reader.read(65_536):
                passed, cut = self.look(line, direction, data)
                writer.write(passed)
                await writer.drain()
                if cut:
                    return True
        except OSError:
            return True
        return False

    def look(self, line, direction, data):
        """What of these bytes is passed on, and whether the connection is cut after them."""
        raise NotImplementedError


class Cutter(Proxy):
    """Before the broker: cuts whichever connection carries the n-th byte from now."""

    def __init__(self, target):
        super().__init__(target)
        self.due = None
        self.cuts = 0

    def cut_after(self, direction, count):
        self.loop.call_soon_threadsafe(setattr, self, "due", (direction, count))

    def look(self, line, direction, data):
        if self.due is None or self.due[0] != direction:
            return data, False
        left = self.due[1]
        if left > len(data):
            self.due = (direction, left - len(data))
            return data, False
        self.due = None
        self.cuts += 1
        return data[:left], True


class LosingBank(Proxy):
    """Before the bank: on some cards every operation is done and no answer comes back, neither to
    the operation nor to questions about it, until they are healed. So their jobs stay in doubt."""

    REQUEST = re.compile(rb"(GET|POST) /v1/cards/([^/ ]+)/")
    # Longer than what REQUEST matches, so that no request hides between two reads.
    TAIL = 64

    def __init__(self, target, cards):
        super().__init__(target)
        self.cards = {card.encode() for card in cards}
        self.lost = 0

    def heal(self, cards):
        healed = {card.encode() for card in cards}
        self.loop.call_soon_threadsafe(self.cards.difference_update, healed)

    def look(self, line, direction, data):
        if direction == "down":
            self.lost += bool(line.get("loses"))
            return (b"", True) if line.get("loses") else (data, False)
        seen = line.get("tail", b"") + data
        line["tail"] = seen[-self.TAIL :]
        for method, card in self.REQUEST.findall(seen):
            if card in self.cards and method == b"GET":
                return b"", True
            if card in self.cards:
                line["loses"] = True
        return data, False
