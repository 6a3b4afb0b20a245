//! The memory of idempotency keys: for a while, a known key gets the answer that it got before.
//!
//! *What it promises.* A key is known to the whole bank, whatever card it came for, because it is
//! looked up before routing. Only the bytes of the body are compared. What is older than the key
//! life is forgotten, and so is its place in memory.
//!
//! *What it refuses to know.* Which answers deserve to be remembered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;

/// The most keys remembered at once, about 1 GB: two batches of the largest size, and some.
pub(super) const KEYS_MAX: usize = 5_000_000;

/// What was answered under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The status.
    pub(super) status: u16,
    /// The body; empty after success.
    pub(super) body: Vec<u8>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing, or nothing any more.
    No,
    /// It came with this body before, and this was the answer.
    Same(Remembered),
    /// It came with another body.
    Other,
}

#[derive(Debug)]
struct Entry {
    body: Digest,
    at: Timestamp,
    answer: Remembered,
}

/// Keys are kept as digests: all of one small size, whatever clients send.
type KeyDigest = [u8; 16];

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: HashMap<KeyDigest, Entry>,
    /// In order of age, so that forgetting costs nothing that remembering did not.
    ages: VecDeque<(Timestamp, KeyDigest)>,
}

impl Keys {
    /// What is known of this key, for this body.
    pub(super) fn look(
        &mut self,
        key: &str,
        body: Digest,
        now: Timestamp,
        life: Duration,
    ) -> Known {
        self.forget(now, life);
        match self.entries.get(&digest_of(key)) {
            Some(entry) if now.since(entry.at) >= life => Known::No,
            Some(entry) if entry.body == body => Known::Same(entry.answer.clone()),
            Some(_) => Known::Other,
            None => Known::No,
        }
    }

    /// Remembers an answer from now on.
    pub(super) fn remember(&mut self, key: &str, body: Digest, answer: Remembered, now: Timestamp) {
        let key = digest_of(key);
        let at = now;
        self.entries.insert(key, Entry { body, at, answer });
        self.ages.push_back((at, key));
    }

    /// Whether one more key can be remembered.
    pub(super) fn has_room(&self) -> bool {
        self.ages.len() < KEYS_MAX
    }

    fn forget(&mut self, now: Timestamp, life: Duration) {
        while let Some(&(at, key)) = self.ages.front() {
            if now.since(at) < life {
                return;
            }
            self.ages.pop_front();
            // A key that was used again after its end is younger than this line of its age.
            if self.entries.get(&key).is_some_and(|entry| entry.at == at) {
                self.entries.remove(&key);
            }
        }
    }
}

fn digest_of(key: &str) -> KeyDigest {
    Digest::of(key.as_bytes()).first_16()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn answer() -> Remembered {
        Remembered {
            status: 201,
            body: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_known_for_its_life_and_then_forgotten() {
        let mut keys = Keys::default();
        let body = Digest::of(b"body");
        assert_eq!(keys.look("k", body, at(0), LIFE), Known::No);
        keys.remember("k", body, answer(), at(0));
        assert_eq!(keys.look("k", body, at(9), LIFE), Known::Same(answer()));
        assert_eq!(
            keys.look("k", Digest::of(b"other"), at(9), LIFE),
            Known::Other
        );
        assert_eq!(keys.look("k", body, at(10), LIFE), Known::No);
        assert!(keys.entries.is_empty() && keys.ages.is_empty());
    }

    #[test]
    fn a_key_that_is_used_again_lives_anew() {
        let mut keys = Keys::default();
        let body = Digest::of(b"body");
        keys.remember("k", body, answer(), at(0));
        keys.remember("k", body, answer(), at(5));
        assert_eq!(keys.look("k", body, at(12), LIFE), Known::Same(answer()));
        assert_eq!(keys.look("k", body, at(15), LIFE), Known::No);
    }

    #[test]
    fn a_clock_set_back_forgets_nothing() {
        let mut keys = Keys::default();
        let body = Digest::of(b"body");
        keys.remember("k", body, answer(), at(100));
        assert_eq!(keys.look("k", body, at(0), LIFE), Known::Same(answer()));
    }
}
