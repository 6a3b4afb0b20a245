"""What must hold, by the books of the bank and all that was published. The worker's own ledger is
not asked.

Each rule yields every fault it finds, in words."""

import collections
import dataclasses
import json

DEAD_LETTERED = ("rejected", "invalid", "conflict", "not_sent")
# Facts about a message, not about the job whose id it bears.
OF_MESSAGES = ("invalid", "conflict")
OF_JOBS = ("succeeded", "rejected", "not_sent")
INTERIM = ("in_doubt", "waiting")
HEADERS = ("tanda-status", "tanda-reason", "tanda-event-id")
BANK_HEADERS = ("tanda-http-status", "tanda-error-code", "tanda-log-id")


@dataclasses.dataclass
class Case:
    """All that is judged."""

    # Every message in the order of its publication (`jobs.Message`).
    messages: list
    # What was taken from the queues (`queues.Taken`).
    results: list
    dead: list
    # The simulated bank's report.
    report: dict
    # For each card the entity_ids of its operations, oldest first, from the bank's own list.
    lists: dict
    # What each queue of the broker still holds, as (ready, unacknowledged).
    queues: dict
    # Cards whose jobs may stay in doubt, because their bank never answers.
    for_good: set
    # Whether anything may be in doubt for a time, and for which reasons it may not.
    doubt_allowed: bool = True
    doubt_forbidden: tuple = ()

    def __post_init__(self):
        self.jobs = {found.entity_id: found for found in self.messages if found.kind == "job"}
        self.outcomes = [json.loads(result.body) for result in self.results]
        self.final = {}
        for said in self.outcomes:
            if said["status"] in OF_JOBS:
                self.final[said["entity_id"]] = said


def judge(case):
    return [fault for rule in RULES for fault in rule(case)]


def says(outcome):
    amount = outcome["amount"] or {}
    return (outcome["card_id"], outcome["operation"], amount.get("amount"))


def publications(case):
    """I4: one event, one body; it goes where its status says, under its own id."""
    bodies = {}
    for result, said in zip(case.results, case.outcomes):
        event, status = said["event_id"], said["status"]
        if bodies.setdefault(event, result.body) != result.body:
            yield f"event {event} ({said['entity_id']}) was published with two bodies"
        if result.routing_key != status:
            yield f"a result that is {status} was published as {result.routing_key!r}"
        if result.message_id != event or result.type != "tanda.outcome.v1":
            yield f"event {event} has message_id {result.message_id!r} and type {result.type!r}"
        if said["final"] != (status not in INTERIM):
            yield f"event {event} is {status} and says final: {said['final']}"


def one_final_each(case):
    """I4: one final status for each generation of a job; what is interim comes before it."""
    found, interim = collections.defaultdict(dict), collections.defaultdict(set)
    for said in case.outcomes:
        generation = (said["entity_id"], said["generation"])
        if said["status"] in OF_JOBS:
            found[generation][said["status"]] = said["seq"]
        elif said["status"] in INTERIM:
            interim[generation].add(said["seq"])
    for (entity, number), statuses in found.items():
        if len(statuses) > 1:
            yield f"generation {number} of {entity} has several ends: {', '.join(sorted(statuses))}"
        if any(seq >= min(statuses.values()) for seq in interim[(entity, number)]):
            yield f"generation {number} of {entity} has an interim outcome numbered after its end"


def every_job_ends(case):
    interim = collections.defaultdict(set)
    for said in case.outcomes:
        if said["status"] in INTERIM:
            interim[said["entity_id"]].add(said["status"])
    for entity, job in case.jobs.items():
        if entity in case.final or job.card_id in case.for_good and interim[entity]:
            continue
        yield f"{entity} has no final outcome, only {sorted(interim[entity])}"
    for entity, said in case.final.items():
        if entity not in case.jobs:
            yield f"{entity} is {said['status']} and is no job"
        elif says(said) != case.jobs[entity].says():
            yield f"{entity} was {case.jobs[entity].says()} and ended as {says(said)}"


def the_books(case):
    """I1, I5, I6, I14: what the bank did is what was asked and what is told."""
    entities = case.report["entities"]
    for entity, found in entities.items():
        if found["movements"] != 1:
            yield f"{entity} was applied {found['movements']} times"
        if entity not in case.jobs:
            yield f"{entity} was applied and is no job"
            continue
        done = found["operations"][0]
        moved = (done["card_id"], done["operation"], done["amount"]["amount"])
        if moved != case.jobs[entity].says():
            yield f"{entity} asks for {case.jobs[entity].says()}, the bank did {moved}"
    for entity, said in case.final.items():
        if (said["status"] == "succeeded") != (entity in entities):
            times = entities.get(entity, {"movements": 0})["movements"]
            yield f"{entity} is {said['status']} and was applied {times} times"
    for count in ("key_collisions", "without_entity_id"):
        if case.report[count]:
            yield f"the bank counts {case.report[count]} {count}"


def dead_letters(case):
    """Each message that nobody will retry is dead-lettered, with the reason in its headers."""
    ends = {said["event_id"]: said for said in case.outcomes if said["status"] in DEAD_LETTERED}
    seen = set()
    for letter in case.dead:
        status, event = (letter.headers.get(name) for name in ("tanda-status", "tanda-event-id"))
        seen.add(event)
        if letter.routing_key != status or status not in DEAD_LETTERED:
            yield f"a dead letter of status {status} was published as {letter.routing_key!r}"
        if event not in ends:
            yield f"the dead letter {event} ({status}) has no outcome of its event id"
            continue
        yield from letter_of(ends[event], letter)
    for event, said in ends.items():
        if event not in seen:
            yield f"{said['entity_id']} is {said['status']} and has no dead letter"


def letter_of(said, letter):
    about = f"the dead letter of {said['entity_id']} ({said['status']})"
    bank = said["bank"] or {}
    errors = bank.get("errors") or [{"error_code": None}]
    values = (said["status"], said["reason"], said["event_id"])
    values += (bank.get("http_status"), errors[0]["error_code"], bank.get("log_id"))
    for name, value in zip(HEADERS + BANK_HEADERS, values):
        told = letter.headers.get(name)
        if (None if told is None else str(told)) != (None if value is None else str(value)):
            yield f"{about} has {name} {told!r}, its outcome {value!r}"
    if said["status"] == "invalid":
        return
    try:
        body = json.loads(letter.body)
        same = body["entity_id"] == said["entity_id"] and says(body) == says(said)
    except (ValueError, KeyError):
        same = False
    if not same:
        yield f"{about} does not have the body of its job"


def refusals_are_told(case):
    """What the bank refused carries its words; what was not sent carries a reason."""
    for said in case.outcomes:
        bank, about = said["bank"] or {}, f"{said['entity_id']} is {said['status']}"
        if said["status"] == "rejected" and not (bank.get("errors") and bank.get("log_id")):
            yield f"{about} without the bank's words"
        if said["status"] in ("invalid", "conflict", "not_sent") and not said["reason"]:
            yield f"{about} without a reason"


def unreadable(case):
    """What is no job comes back byte for byte, once told and never anything else."""
    sent = {found.body for found in case.messages if found.kind == "unreadable"}
    back = {letter.body for letter in case.dead if letter.routing_key == "invalid"}
    yield from (f"unreadable and not in the dead letters: {body[:80]!r}" for body in sent - back)
    yield from (f"called invalid, and was not sent so: {body[:80]!r}" for body in back - sent)
    told = {said["event_id"] for said in case.outcomes if said["status"] == "invalid"}
    if len(told) != len(sent):
        yield f"{len(sent)} messages are unreadable, {len(told)} outcomes are invalid"


def conflicts(case):
    """I6: a copy that says something else is told as such; nothing else is."""
    told = {
        (said["entity_id"], *says(said))
        for said in case.outcomes
        if said["status"] == "conflict"
    }
    sent = {
        (found.entity_id, *found.says()) for found in case.messages if found.kind == "conflict"
    }
    yield from (f"{copy[0]} came with other content, and that is not told" for copy in sent - told)
    yield from (f"{copy[0]} is told as a conflict, and was not sent so" for copy in told - sent)


def doubts(case):
    for said in case.outcomes:
        forbidden = not case.doubt_allowed or said["reason"] in case.doubt_forbidden
        if said["status"] == "in_doubt" and forbidden:
            yield f"{said['entity_id']} is in doubt ({said['reason']}), and nothing made it so"


def nothing_left(case):
    for name, (ready, unacknowledged) in case.queues.items():
        if ready or unacknowledged:
            yield f"{name} still holds {ready} messages ready, {unacknowledged} unacknowledged"


def order(case):
    """I7: a card's money moved in the order in which its jobs were published."""
    place = {entity: at for at, entity in enumerate(case.jobs)}
    for card, entities in case.lists.items():
        known = [entity for entity in entities if entity in place]
        for before, after in zip(known, known[1:]):
            if place[before] > place[after]:
                yield f"{after} was published before {before} and moved after it, on {card}"


RULES = (
    publications,
    one_final_each,
    every_job_ends,
    the_books,
    dead_letters,
    refusals_are_told,
    unreadable,
    conflicts,
    doubts,
    nothing_left,
    order,
)
