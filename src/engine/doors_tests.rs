//! Tests of the doors themselves: what breaks where, and what the list has.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::domain::job::CardId;
use crate::domain::key::IdempotencyKey;
use crate::domain::listing::ListedOperation;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::engine::ports::{Bank, ListFault};

/// Breaks one place, and remembers where it was asked.
struct Breaks {
    at: Option<Place>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Guard for Breaks {
    async fn at(&self, point: Point) -> Result<(), Broken> {
        let mut asked = self.asked.lock().expect("no panics");
        asked.push(point.to_string());
        if self.at == Some(point.place) {
            return Err(Broken(point));
        }
        Ok(())
    }
}

/// Applies after a moment, and counts.
#[derive(Default)]
struct Applies {
    begun: Mutex<usize>,
    done: Mutex<usize>,
}

#[async_trait]
impl Bank for Arc<Applies> {
    async fn apply(&self, _: &CardId, _: &IdempotencyKey, _: &[u8]) -> Verdict {
        *self.begun.lock().expect("no panics") += 1;
        tokio::task::yield_now().await;
        *self.done.lock().expect("no panics") += 1;
        Verdict::Accepted { http_status: 200 }
    }

    async fn list(&self, _: &CardId, _: Timestamp) -> Result<Vec<ListedOperation>, ListFault> {
        Ok(Vec::new())
    }

    async fn probe(&self, _: &CardId) -> Result<(), ListFault> {
        Ok(())
    }

    fn time(&self) -> Option<Timestamp> {
        None
    }
}

async fn applied(at: Option<Place>) -> (&'static str, usize, usize, Vec<String>) {
    let applies = Arc::new(Applies::default());
    let breaks = Arc::new(Breaks {
        at,
        asked: Mutex::default(),
    });
    let guard: Arc<dyn Guard> = breaks.clone();
    let bank: Arc<dyn Bank> = Arc::new(Arc::clone(&applies));
    let bank = Guarded::new(bank, &guard);
    let card_id = CardId::parse("car_0000000000000000000001").expect("well formed");
    let key = IdempotencyKey::from_bytes([0; 16]);
    let verdict = bank.apply(&card_id, &key, b"{}").await;
    let begun = *applies.begun.lock().expect("no panics");
    let done = *applies.done.lock().expect("no panics");
    let asked = breaks.asked.lock().expect("no panics").clone();
    (verdict.as_str(), begun, done, asked)
}

#[tokio::test]
async fn a_door_breaks_before_in_the_middle_of_or_after_what_it_does() {
    let at = |place: &str| format!("bank.apply.{place}");
    let all = [at("before"), at("during"), at("after")];
    assert_eq!(applied(None).await, ("accepted", 1, 1, all.to_vec()));
    let before = ("deferred", 0, 0, all[..1].to_vec());
    assert_eq!(applied(Some(Place::Before)).await, before);
    let during = ("unclear", 1, 0, all[..2].to_vec());
    assert_eq!(applied(Some(Place::During)).await, during);
    let after = ("unclear", 1, 1, all.to_vec());
    assert_eq!(applied(Some(Place::After)).await, after);
}

#[test]
fn every_point_has_a_name_of_its_own_that_can_be_read_back() {
    let names: BTreeSet<String> = points().map(|point| point.to_string()).collect();
    assert_eq!(names.len(), points().count());
    for point in points() {
        assert_eq!(Point::parse(&point.to_string()), Some(point));
    }
    for text in [
        "",
        "ledger.begin",
        "ledger.begin.during",
        "ledger.beginn.after",
    ] {
        assert_eq!(Point::parse(text), None, "{text}");
    }
    for name in [
        "ledger.begin.after",
        "bank.apply.during",
        "receipt.done.before",
        "source.next.after",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn a_lost_answer_is_lost_before_it_is_given() {
    let can_break = |text: &str| Point::parse(text).expect("a point").can_break();
    assert!(can_break("receipt.done.before"));
    assert!(!can_break("receipt.done.after"));
    assert!(can_break("ledger.settle.after"));
}
