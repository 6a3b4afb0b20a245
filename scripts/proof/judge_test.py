"""The judge is judged: a small case in which all holds, and each way in which it may not."""

import copy
import dataclasses
import json

from proof.jobs import Message, message
from proof.judge import Case, judge
from proof.queues import Taken

CARD, CONFLICT_CARD, DUMB_CARD = (f"car_{name:A<22}" for name in ("One", "Two", "Dumb"))
BAD = Message(b"\xffno job", "unreadable")
REFUSAL = {
    "http_status": 422,
    "errors": [{"error_code": "card_frozen"}],
    "log_id": "log_1",
}


def outcome(job, status, seq=1, bank=None, reason=None):
    return {
        "event_id": f"{job.entity_id or 'bad'}-{status}",
        "seq": seq,
        "entity_id": job.entity_id or None,
        "card_id": job.card_id or None,
        "operation": job.operation or None,
        "amount": {"amount": job.minor, "currency": "COP"} if job.entity_id else None,
        "status": status,
        "final": status not in ("in_doubt", "waiting"),
        "generation": 1 if job.entity_id else None,
        "bank": bank,
        "reason": reason,
    }


def result(said):
    body = json.dumps(said).encode()
    return Taken(said["status"], body, {}, said["event_id"], "tanda.outcome.v1")


def letter(said, body):
    bank = said["bank"] or {"http_status": None, "errors": [{"error_code": None}], "log_id": None}
    headers = {
        "tanda-status": said["status"],
        "tanda-reason": said["reason"],
        "tanda-event-id": said["event_id"],
        "tanda-http-status": bank["http_status"],
        "tanda-error-code": bank["errors"][0]["error_code"],
        "tanda-log-id": bank["log_id"],
    }
    headers = {name: value for name, value in headers.items() if value is not None}
    return Taken(said["status"], body, headers)


def movement(job):
    amount = {"amount": job.minor, "currency": "COP"}
    return {"card_id": job.card_id, "operation": job.operation, "amount": amount}


def good():
    paid, late, refused, unsent, dumb = (
        message("job", f"J{number}", card, "topup", 100 + number)
        for number, card in enumerate((CARD, CARD, CARD, CARD, DUMB_CARD))
    )
    other = message("conflict", "J0", CONFLICT_CARD, "topup", 100)
    ends = [
        (outcome(refused, "rejected", bank=REFUSAL), refused.body),
        (outcome(unsent, "not_sent", 2, reason="attempts_spent"), unsent.body),
        (outcome(other, "conflict", reason="other_content"), other.body),
        (outcome(BAD, "invalid", reason="not_json"), BAD.body),
    ]
    told = [
        outcome(paid, "succeeded"),
        outcome(late, "in_doubt", reason="interrupted"),
        outcome(late, "succeeded", 2, reason="found_in_list"),
        outcome(unsent, "waiting"),
        outcome(dumb, "in_doubt", reason="window_closed"),
        *(said for said, _ in ends),
        # Told again, as it may be.
        outcome(paid, "succeeded"),
    ]
    applied = (paid, late, dumb)
    return Case(
        messages=[paid, paid, late, refused, unsent, dumb, other, BAD],
        results=[result(said) for said in told],
        dead=[letter(said, body) for said, body in ends],
        report={
            "entities": {
                job.entity_id: {"movements": 1, "operations": [movement(job)]} for job in applied
            },
            "key_collisions": 0,
            "without_entity_id": 0,
        },
        lists={CARD: ["J0", "J1"], DUMB_CARD: ["J4"]},
        queues={"tanda.jobs": (0, 0)},
        for_good={DUMB_CARD},
    )


# ---- ways to change a case --------------------------------------------------------------------


def having(**words):
    return lambda case: dataclasses.replace(case, **words)


def books(change):
    def changed(case):
        report = copy.deepcopy(case.report)
        change(report["entities"])
        return dataclasses.replace(case, report=report)

    return changed


def counting(**words):
    return lambda case: dataclasses.replace(case, report=case.report | words)


def telling(said, **words):
    more = result(said | words)
    return lambda case: dataclasses.replace(case, results=[*case.results, more])


def not_telling(status, entity="J0"):
    def change(case):
        kept = [
            taken
            for taken, said in zip(case.results, case.outcomes)
            if (said["entity_id"], said["status"]) != (entity, status)
        ]
        return dataclasses.replace(case, results=kept)

    return change


def with_one(which, at, **words):
    """One message taken from a queue, changed."""

    def change(case):
        taken = list(getattr(case, which))
        taken[at] = dataclasses.replace(taken[at], **words)
        return dataclasses.replace(case, **{which: taken})

    return change


def without_letter(at):
    return lambda case: dataclasses.replace(case, dead=case.dead[:at] + case.dead[at + 1 :])


def without_header(at, name):
    def change(case):
        headers = {key: value for key, value in case.dead[at].headers.items() if key != name}
        return with_one("dead", at, headers=headers)(case)

    return change


J0, J1, J2 = (message("job", f"J{number}", CARD, "topup", 100 + number) for number in range(3))
STRANGER = message("job", "J9", CARD, "topup", 1)
OTHER_J0 = message("job", "J0", CARD, "topup", 7)


def moved(job, times=1):
    return {"movements": times, "operations": [movement(job)] * times}


# What the judge must say, in part, of a good case that was changed so.
CASES = [
    ("J0 was applied 2 times", books(lambda moves: moves.update(J0=moved(J0, 2)))),
    ("J2 is rejected and was applied 1 times", books(lambda moves: moves.update(J2=moved(J2)))),
    ("J0 is succeeded and was applied 0 times", books(lambda moves: moves.pop("J0"))),
    ("J9 was applied and is no job", books(lambda moves: moves.update(J9=moved(STRANGER)))),
    ("J0 asks for", books(lambda moves: moves.update(J0=moved(OTHER_J0)))),
    ("the bank counts 1 key_collisions", counting(key_collisions=1)),
    ("the bank counts 1 without_entity_id", counting(without_entity_id=1)),
    ("J0 has no final outcome, only []", not_telling("succeeded")),
    ("J1 has no final outcome, only ['in_doubt']", not_telling("succeeded", "J1")),
    ("J4 has no final outcome, only []", not_telling("in_doubt", "J4")),
    ("J4 has no final outcome, only ['in_doubt']", having(for_good=set())),
    ("J0 has several ends: not_sent, succeeded", telling(outcome(J0, "not_sent", 2, reason="x"))),
    ("has an interim outcome numbered after its end", telling(outcome(J0, "in_doubt", 2))),
    ("J9 is succeeded and is no job", telling(outcome(STRANGER, "succeeded"))),
    ("J0 was ('car_OneAAAAAAAAAAAAAAAAAAA', ", telling(outcome(OTHER_J0, "succeeded"))),
    ("(J0) was published with two bodies", telling(outcome(J0, "succeeded"), attempts=2)),
    ("says final: False", telling(outcome(J0, "succeeded"), final=False)),
    ("is succeeded was published as 'rejected'", with_one("results", 0, routing_key="rejected")),
    ("has message_id ''", with_one("results", 0, message_id="")),
    ("and type 'other'", with_one("results", 0, type="other")),
    ("J2 is rejected and has no dead letter", without_letter(0)),
    ("J3 is not_sent and has no dead letter", without_letter(1)),
    ("J0 is conflict and has no dead letter", without_letter(2)),
    ("None is invalid and has no dead letter", without_letter(3)),
    ("rejected was published as 'invalid'", with_one("dead", 0, routing_key="invalid")),
    ("a dead letter of status None", with_one("dead", 0, headers={})),
    ("J2-rejected (rejected) has no outcome", not_telling("rejected", "J2")),
    ("has tanda-status None", without_header(0, "tanda-status")),
    ("has tanda-reason None", without_header(1, "tanda-reason")),
    ("has tanda-http-status None", without_header(0, "tanda-http-status")),
    ("has tanda-error-code None", without_header(0, "tanda-error-code")),
    ("has tanda-log-id None, its outcome 'log_1'", without_header(0, "tanda-log-id")),
    ("does not have the body of its job", with_one("dead", 0, body=J0.body)),
    ("does not have the body of its job", with_one("dead", 0, body=b"{")),
    ("J2 is rejected without the bank's words", telling(outcome(J2, "rejected"))),
    ("None is invalid without a reason", telling(outcome(BAD, "invalid"))),
    ("not in the dead letters: b'\\xffno job'", with_one("dead", 3, body=b"no job")),
    ("called invalid, and was not sent so: b'no job'", with_one("dead", 3, body=b"no job")),
    ("1 messages are unreadable, 0 outcomes are", not_telling("invalid", None)),
    ("J0 came with other content, and that is not told", not_telling("conflict")),
    ("J1 is told as a conflict", telling(outcome(J1, "conflict", reason="x"))),
    ("J1 is in doubt (interrupted)", having(doubt_allowed=False)),
    ("J1 is in doubt (interrupted)", having(doubt_forbidden=("interrupted",))),
    ("tanda.jobs still holds 1 messages ready", having(queues={"tanda.jobs": (1, 0)})),
    ("1 unacknowledged", having(queues={"tanda.jobs": (0, 1)})),
    ("J0 was published before J1 and moved after it", having(lists={CARD: ["J1", "J0"]})),
]


def self_test():
    """What the judge fails to say."""
    missed = [f"the good case is faulted: {fault}" for fault in judge(good())]
    for expected, change in CASES:
        faults = judge(change(good()))
        if not any(expected in fault for fault in faults):
            missed.append(f"{expected!r} is not among {faults}")
    return missed
