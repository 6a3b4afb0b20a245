//! SHA-256, the one hash of `tanda`: fingerprints, keys, bodies and files.
//!
//! *What it promises.* A [`Digest`] is 32 bytes, shown as lower-case hexadecimal.
//!
//! *What it refuses to know.* What is hashed, and why.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The unit separator (U+001F) that keeps hashed fields apart; no hashed field may contain it.
pub const UNIT_SEPARATOR: u8 = 0x1F;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of these fields, joined by [`UNIT_SEPARATOR`].
    #[must_use]
    pub fn of_fields(fields: &[&str]) -> Self {
        let mut digester = Digester::default();
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                digester.update(&[UNIT_SEPARATOR]);
            }
            digester.update(field.as_bytes());
        }
        digester.finish()
    }

    /// A digest that was stored before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 bytes, as keys and event ids use them.
    #[must_use]
    pub fn first_16(&self) -> [u8; 16] {
        std::array::from_fn(|index| self.0.get(index).copied().unwrap_or_default())
    }

    /// The first 8 bytes as a big-endian number.
    #[must_use]
    pub fn first_u64(&self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|index| {
            self.0.get(index).copied().unwrap_or_default()
        }))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A digest in the making, for bytes that come in pieces.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester")
    }
}
