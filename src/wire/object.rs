//! JSON objects that are objects.
//!
//! *What it promises.* Nothing but an object is read for one. A derived `Deserialize` reads a struct from a
//! list too, its fields in their order: `["",[],"",""]` would be the bank's envelope. No contract here has
//! that, so each struct that strangers write is read through this module.
//!
//! *What it refuses to know.* What is in an object.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that was read from an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FromMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for FromMap<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        let read = deserializer.deserialize_map(FromMap(PhantomData));
        read.map(Self)
    }
}

/// Reads one object and nothing else.
pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    serde_json::from_slice::<Object<T>>(bytes).map(|Object(read)| read)
}

/// The same of bytes of which every one must be text, also where it stands in a field that is ignored:
/// of that a reader looks at the quotes alone.
pub(super) fn read_text<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?;
    read(bytes).ok()
}

/// For a field that is an object.
pub(super) fn one<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|Object(read)| read)
}

/// For a field that is a list of objects.
pub(super) fn each<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let read = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(read.into_iter().map(|Object(read)| read).collect())
}
