//! The judge of the crash points sees what it is there for: each wrong is told, and a right world is not.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use super::book::{Book, Kind, Sent, Told};
use crate::support::queues::Message;

fn sent(kind: Kind, entity_id: &str, card: &str) -> Sent {
    Sent {
        kind,
        entity_id: entity_id.to_owned(),
        card: card.to_owned(),
        body: format!("{entity_id} {kind:?}").into_bytes(),
    }
}

fn result(entity_id: &str, status: &str, event_id: &str) -> Told {
    result_after(0, entity_id, status, event_id, 1)
}

/// One that was told after so many losses, with this in it.
fn result_after(losses: usize, entity_id: &str, status: &str, event_id: &str, seq: u64) -> Told {
    let body = json!({
        "entity_id": entity_id, "status": status, "event_id": event_id, "final": status != "in_doubt",
        "generation": 1, "seq": seq,
    });
    let message = Message {
        key: status.to_owned(),
        properties: BasicProperties::default(),
        body: body.to_string().into_bytes(),
    };
    Told::read(&message, losses)
}

fn letter(event_id: &str, sent: &Sent) -> Message {
    let mut headers = FieldTable::default();
    let value = AMQPValue::LongString(event_id.into());
    headers.insert("tanda-event-id".into(), value);
    Message {
        key: String::new(),
        properties: BasicProperties::default().with_headers(headers),
        body: sent.body.clone(),
    }
}

/// Two jobs of one card that were paid, one that was refused, a copy that says something else, and a
/// message that is no job.
fn right() -> (Book, Value) {
    let all = [
        sent(Kind::Good, "A", "1"),
        sent(Kind::Good, "B", "1"),
        sent(Kind::Refused, "R", "2"),
        sent(Kind::Conflict, "A", "1"),
        sent(Kind::Unreadable, "U", ""),
    ];
    let book = Book {
        letters: vec![
            letter("r", &all[2]),
            letter("c", &all[3]),
            letter("u", &all[4]),
        ],
        results: vec![
            result("A", "in_doubt", "d"),
            result("A", "succeeded", "a"),
            result("A", "succeeded", "a"),
            result("B", "succeeded", "b"),
            result("R", "rejected", "r"),
            result("A", "conflict", "c"),
            result("U", "invalid", "u"),
        ],
        sent: all.to_vec(),
        ..Book::default()
    };
    let moved = |second: u32| json!({"operations": [{"performed_at": at(second)}]});
    let entities = json!({"A": moved(1), "B": moved(2)});
    (book, json!({"entities": entities, "key_collisions": 0}))
}

fn at(second: u32) -> String {
    format!("2026-11-30T10:00:{second:02}Z")
}

fn has(book: &Book, report: &Value, words: &str) {
    let faults = book.faults(report);
    assert!(
        faults.iter().any(|fault| fault.contains(words)),
        "{words}: {faults:?}"
    );
}

#[test]
fn the_judge_of_the_crash_points_sees_every_wrong() {
    let (book, report) = right();
    assert_eq!(book.faults(&report), Vec::<String>::new());

    let mut twice = report.clone();
    let again = json!({"performed_at": at(3)});
    let paid = twice.pointer_mut("/entities/B/operations");
    paid.and_then(Value::as_array_mut)
        .expect("B was paid")
        .push(again);
    has(&book, &twice, "I1: B moved money 2 times");
    has(&book, &json!({"entities": {}}), "I5, I14: A moved 0");
    let mut rejected = report.clone();
    rejected["entities"]["R"] = json!({"operations": [{"performed_at": at(3)}]});
    has(&book, &rejected, "I5, I14: R moved 1, told 0 times");
    let mut swapped = report.clone();
    swapped["entities"]["A"]["operations"][0]["performed_at"] = at(9).into();
    has(&book, &swapped, "I7: A was applied after B");
    let (mut excused, _) = right();
    excused.unordered.insert("2".to_owned());
    has(&excused, &swapped, "I7: A was applied after B");
    excused.unordered.insert("1".to_owned());
    assert_eq!(excused.faults(&swapped), Vec::<String>::new());
    let mut collided = report.clone();
    collided["key_collisions"] = 1.into();
    has(&book, &collided, "I8: a key came with other bytes");

    let wrong = |change: &dyn Fn(&mut Book), words: &str| {
        let (mut book, report) = right();
        change(&mut book);
        has(&book, &report, words);
    };
    wrong(
        &|book| book.results.retain(|it| it.entity_id != "B"),
        "I4: nothing final was told about B",
    );
    wrong(
        &|book| book.results.push(result("B", "not_sent", "x")),
        "I4: B, generation 1",
    );
    wrong(
        &|book| book.results.push(result("B", "succeeded", "x")),
        "I4: B, generation 1",
    );
    wrong(
        &|book| book.results.push(result("B", "rejected", "b")),
        "I4: B has other bytes",
    );
    wrong(
        &|book| book.results.retain(|it| it.status != "conflict"),
        "nothing final was told about conflict A",
    );
    wrong(
        &|book| book.results.push(result("B", "conflict", "y")),
        "I5: B is conflict, and was not so",
    );
    wrong(
        &|book| book.results.push(result("U", "invalid", "z")),
        "I4: U is invalid 2 times",
    );
    for dead in 0..3 {
        wrong(
            &|book| {
                book.letters.remove(dead);
            },
            "has no dead letter",
        );
    }
    wrong(
        &|book| book.letters[1].body = b"other".to_vec(),
        "A has another letter",
    );
}

/// After a loss the same may be told again with other bytes, and a person may say that nothing moved; money
/// is judged as before.
#[test]
fn the_judge_lets_a_loss_excuse_bytes_and_what_a_person_ruled_but_no_money() {
    let (mut book, report) = right();
    book.results.push(result_after(1, "A", "succeeded", "a", 2));
    assert_eq!(book.faults(&report), Vec::<String>::new());
    book.results.push(result_after(1, "A", "succeeded", "a", 3));
    has(&book, &report, "I4: A has other bytes");

    let (mut book, report) = right();
    let late = sent(Kind::Good, "L", "3");
    book.letters.push(letter("l", &late));
    book.sent.push(late);
    book.results.push(result_after(1, "L", "not_sent", "l", 1));
    has(&book, &report, "L (Good) moved 0");
    book.ruled.insert("L".to_owned());
    assert_eq!(book.faults(&report), Vec::<String>::new());
    let mut paid = report;
    paid["entities"]["L"] = json!({"operations": [{"performed_at": at(3)}]});
    has(&book, &paid, "I5, I14: L moved 1, told 0 times");
}
