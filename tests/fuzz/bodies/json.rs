//! JSON read in another way than the rooms read it: every field of an object, also one that is there
//! twice, in the order in which they stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The fields of one object.
pub(super) struct Fields(pub(super) Vec<(String, Value)>);

impl Fields {
    /// The fields of this text, where it is one object and nothing else.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// How often a field is there.
    pub(super) fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(key, _)| key == name).count()
    }

    /// The value of a field that is there once.
    pub(super) fn only(&self, name: &str) -> Option<&Value> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The text of a field that is there once.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.only(name)?.as_str()
    }

    /// Whether every field is one of these, each at most once.
    pub(super) fn are_of(&self, known: &[&str]) -> bool {
        self.0.iter().all(|(key, _)| known.contains(&key.as_str()))
            && known.iter().all(|name| self.count(name) <= 1)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Every;
        impl<'de> Visitor<'de> for Every {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Every)
    }
}

/// Whether these bytes are one JSON value.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok()
}
