//! Who a job is to the bank and to those who read outcomes: the idempotency key and the event id.
//!
//! *What it promises.* The same namespace, `entity_id` and generation give the same key for ever,
//! in UUID v4 form, as the bank's page asks for in `x-idempotency-key`. One outcome has one event id.
//!
//! *What it refuses to know.* What a job says: that is its fingerprint.

use std::fmt;
use std::num::NonZeroU32;

use uuid::{Builder, Uuid};

use super::digest::Digest;
use super::job::EntityId;
use super::outcome::Status;

/// Prefix of the hashed key input; a new derivation would need a new one.
const KEY_VERSION: &str = "tanda.key.v1";
/// Prefix of the hashed event id input.
const EVENT_VERSION: &str = "tanda.event.v1";
/// The longest namespace, in characters: it is a name that people choose, not data.
const NAMESPACE_MAX_CHARS: usize = 64;

/// Which installation a key belongs to (a setting), so that two of them at one bank never share keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Reads 1 to 64 characters without control characters or white space; `None` otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=NAMESPACE_MAX_CHARS).contains(&text.chars().count());
        let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// How many times a job was begun anew after proof that no money moved: 1, 2, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(NonZeroU32);

impl Generation {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The generation of this number; `None` for 0.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The generation after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The generation before it, unless it is the first.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        Self::new(self.get() - 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The value of `x-idempotency-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Uuid);

impl IdempotencyKey {
    /// Derives the key of one generation of one job.
    #[must_use]
    pub fn derive(namespace: &Namespace, entity_id: &EntityId, generation: Generation) -> Self {
        let digest = Digest::of_fields(&[
            KEY_VERSION,
            namespace.as_str(),
            entity_id.as_str(),
            &generation.to_string(),
        ]);
        Self(uuid_v4_of(digest))
    }

    /// A key that was stored before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one outcome, the same on every publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// The event id of an outcome of one generation of a job.
    #[must_use]
    pub fn of_outcome(
        namespace: &Namespace,
        entity_id: &EntityId,
        generation: Generation,
        status: Status,
    ) -> Self {
        let generation = generation.to_string();
        Self(uuid_v4_of(Digest::of_fields(&[
            EVENT_VERSION,
            namespace.as_str(),
            entity_id.as_str(),
            &generation,
            status.as_str(),
        ])))
    }

    /// The event id of the fact that a copy of a job says something else than the job.
    #[must_use]
    pub fn of_conflict(
        namespace: &Namespace,
        entity_id: &EntityId,
        generation: Generation,
        copy_fingerprint: Digest,
    ) -> Self {
        let generation = generation.to_string();
        Self(uuid_v4_of(Digest::of_fields(&[
            EVENT_VERSION,
            namespace.as_str(),
            entity_id.as_str(),
            &generation,
            Status::Conflict.as_str(),
            &copy_fingerprint.to_string(),
        ])))
    }

    /// The event id of the fact that a message is no valid job, from the digest of its body.
    #[must_use]
    pub fn of_invalid(namespace: &Namespace, body: Digest) -> Self {
        Self(uuid_v4_of(Digest::of_fields(&[
            EVENT_VERSION,
            namespace.as_str(),
            &body.to_string(),
            &Generation::FIRST.to_string(),
            Status::Invalid.as_str(),
        ])))
    }

    /// An event id that was stored before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first 16 bytes with version nibble 4 and the RFC 9562 variant bits.
fn uuid_v4_of(digest: Digest) -> Uuid {
    Builder::from_random_bytes(digest.first_16()).into_uuid()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, entity_id: &str, generation: u32) -> String {
        let namespace = Namespace::parse(namespace).expect("a namespace");
        let entity_id = EntityId::parse(entity_id).expect("an entity_id");
        let generation = Generation::new(generation).expect("a generation");
        IdempotencyKey::derive(&namespace, &entity_id, generation).to_string()
    }

    #[test]
    fn keys_are_those_of_the_contract() {
        let long = "a".repeat(255);
        for (namespace, entity_id, generation, expected) in [
            (
                "default",
                "EMP-0001",
                1,
                "4ffca915-5339-4b9f-a54d-4eef150e4896",
            ),
            (
                "default",
                "EMP-0001",
                2,
                "f61f5a87-6e23-4640-b2a3-4b02ce541f51",
            ),
            (
                "acme-prod",
                "EMP-0001",
                1,
                "3b2a81b5-2e97-4a89-a5b4-86db61885d83",
            ),
            (
                "default",
                "NOM-2026-11-0042",
                1,
                "4b098277-e954-41c2-ac8f-80a4f79c9b6c",
            ),
            (
                "default",
                "nómina-ñ-1",
                1,
                "ce8d484c-5c8b-435b-99c0-9aec14737227",
            ),
            (
                "default",
                long.as_str(),
                1,
                "c1f14c44-b8b7-446a-806e-9055b548bacb",
            ),
        ] {
            assert_eq!(
                key(namespace, entity_id, generation),
                expected,
                "{entity_id} {generation}"
            );
        }
    }

    #[test]
    fn a_namespace_is_a_plain_name() {
        for text in ["", "a b", "a\u{1f}b", &"x".repeat(65)] {
            assert!(Namespace::parse(text).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_v4_shaped_stable_and_its_own(
            a in "[A-Za-z0-9._-]{1,40}",
            b in "[A-Za-z0-9._-]{1,40}",
            generation in 1_u32..5,
        ) {
            let first = key("default", &a, generation);
            prop_assert_eq!(first.as_bytes().get(14), Some(&b'4'));
            prop_assert!(matches!(first.as_bytes().get(19), Some(b'8' | b'9' | b'a' | b'b')));
            prop_assert_eq!(&first, &key("default", &a, generation));
            prop_assert_ne!(&first, &key("default", &a, generation + 1));
            if a != b {
                prop_assert_ne!(first, key("default", &b, generation));
            }
        }
    }

    /// How many ids are tried for each case of a property: 100,000 in all, and ten million with
    /// `PROPTEST_CASES=25600`.
    const IDS_PER_CASE: u32 = 400;

    /// Ids that differ by little, in more than one namespace and generation: no two share a key.
    #[test]
    fn i1_the_keys_of_many_ids_all_differ() {
        let count = ProptestConfig::default().cases * IDS_PER_CASE;
        let ways: Vec<_> = ["default", "default1", "d"]
            .into_iter()
            .flat_map(|name| [1, 2, 11].map(|number| (name, number)))
            .map(|(name, number)| {
                let namespace = Namespace::parse(name).expect("a namespace");
                (namespace, Generation::new(number).expect("a generation"))
            })
            .collect();
        let mut keys: Vec<u128> = (0..count)
            .zip(ways.iter().cycle())
            .map(|(number, (namespace, generation))| {
                // Nine ways in turn, so that each has every id.
                let id = EntityId::parse(&format!("1{}", number / 9)).expect("an entity_id");
                let key = IdempotencyKey::derive(namespace, &id, *generation);
                u128::from_be_bytes(*key.as_bytes())
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(u32::try_from(keys.len()), Ok(count));
    }
}
