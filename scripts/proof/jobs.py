"""The messages of a proof: jobs, copies, copies that say something else, and what is no job."""

import dataclasses
import json
import random
import string

ALPHABET = string.ascii_letters + string.digits
CURRENCY = "COP"
# Below the opening balance of a card at the simulated bank, so that no withdrawal of any subset of
# the jobs is refused for lack of money.
WITHDRAWN_AT_MOST = 90_000_000
# One job in this many is for a card that the bank refuses.
REFUSED_ONE_IN = 200
REFUSED_CARDS = 3
# Copies come within this many messages of their original, or anywhere after it.
NEAR = 200
BODY_MAX_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Message:
    body: bytes
    # job, copy, conflict or unreadable
    kind: str
    entity_id: str = ""
    card_id: str = ""
    operation: str = ""
    minor: int = 0

    def says(self):
        return (self.card_id, self.operation, self.minor)


def card(chance, ending=""):
    return "car_" + "".join(chance.choices(ALPHABET, k=22 - len(ending))) + ending


def encode(job):
    return json.dumps(job, ensure_ascii=False, separators=(",", ":")).encode()


def message(kind, entity_id, card_id, operation, minor, **more):
    amount = {"amount": minor, "currency": CURRENCY}
    job = {"entity_id": entity_id, "card_id": card_id, "operation": operation, "amount": amount}
    return Message(encode({**job, **more}), kind, entity_id, card_id, operation, minor)


def originals(chance, seed, count, cards):
    refused = [card(chance, "Frozen"), card(chance, "Cancelled"), card(chance, "Forbidden")]
    withdrawn = dict.fromkeys(cards, 0)
    for number in range(count):
        minor = chance.randrange(500_000, 900_000_000)
        on, operation = chance.choice(cards), "topup"
        if chance.randrange(REFUSED_ONE_IN) == 0:
            on = chance.choice(refused)
        elif chance.randrange(10) == 0:
            less = chance.randrange(500_000, 18_000_000)
            if withdrawn[on] + less <= WITHDRAWN_AT_MOST:
                withdrawn[on] += less
                minor, operation = less, "withdrawal"
        text = f"Nómina {number}"
        yield message("job", f"NOM-{seed}-{number:07}", on, operation, minor, description=text)


def copy_of(chance, job):
    if chance.randrange(2):
        return dataclasses.replace(job, kind="copy")
    # Another description is no conflict: the first stays.
    more = {"description": "again"}
    return message("copy", job.entity_id, job.card_id, job.operation, job.minor, **more)


def conflict_of(chance, job, cards):
    if chance.randrange(2):
        return message("conflict", job.entity_id, job.card_id, job.operation, job.minor + 1)
    other = chance.choice([found for found in cards if found != job.card_id] or [card(chance)])
    return message("conflict", job.entity_id, other, job.operation, job.minor)


def unreadable(chance, number, job):
    """No two with the same bytes: their digest is all that tells them apart."""
    name = f"BAD-{number:06}"
    amount = {"amount": 100_000, "currency": CURRENCY}
    good = {"entity_id": name, "card_id": card(chance), "operation": "topup", "amount": amount}
    nameless = {key: good[key] for key in good if key != "entity_id"}
    bodies = [
        b"\xff\xfe\x00" + name.encode(),
        f"not JSON {name}".encode(),
        encode(good)[:-1],
        encode(good) + b"}",
        encode([name]),
        encode(nameless | {"description": name}),
        encode(good | {"entity_id": name + " "}),
        encode(good | {"entity_id": name + "\t1"}),
        encode(good | {"card_id": f"car_{name}"}),
        encode(good | {"operation": "transfer"}),
        encode(good | {"amount": {"amount": 1.0, "currency": CURRENCY}}),
        encode(good | {"amount": {"amount": "100000", "currency": CURRENCY}}),
        encode(good | {"amount": {"amount": 0, "currency": CURRENCY}}),
        encode(good | {"amount": {"amount": -number - 1, "currency": CURRENCY}}),
        encode(good | {"amount": {"amount": 100_000, "currency": "pesos"}}),
        encode(good | {"not_after": "tomorrow"}),
        encode(good)[:-1] + f',"entity_id":"{name}"}}'.encode(),
        encode(good | {"padding": "x" * BODY_MAX_BYTES}),
        # It names a real job, and must not touch it.
        job.body[:-1] + f',"unknown":{number}}}'.encode(),
    ]
    return Message(chance.choice(bodies), "unreadable")


def make(seed, jobs, card_count, duplicates, conflicts, unreadables):
    """Every message in the order of its publication, and the cards."""
    chance = random.Random(seed)
    cards = [card(chance) for _ in range(card_count)]
    first = list(originals(chance, seed, jobs, cards))
    # Each with a place: that of its original, and some more for what must come after it.
    placed = list(enumerate(first))

    def after(place):
        far = chance.random() < 0.5
        return place + chance.uniform(0.1, max(1, jobs - place) if far else NEAR)

    for place in chance.sample(range(jobs), round(jobs * duplicates)):
        placed.append((after(place), copy_of(chance, first[place])))
    for place in chance.sample(range(jobs), round(jobs * conflicts)):
        placed.append((after(place), conflict_of(chance, first[place], cards)))
    for number in range(round(jobs * unreadables)):
        place = chance.uniform(0, jobs)
        placed.append((place, unreadable(chance, number, chance.choice(first))))
    placed.sort(key=lambda entry: entry[0])
    return [found for _, found in placed], cards
