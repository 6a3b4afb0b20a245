//! The anchor: a small file beside the ledger that knows how far the ledger had come.
//!
//! *What it promises.* It never names a commit that was not durable before it. So a ledger with a
//! smaller number, or with another id, has forgotten something: an older copy was put in its place,
//! or the disk lost committed pages, which SQLite itself does not notice. It is flushed once a second;
//! between, its last line names each commit before anybody is told of it, so that it knows the very last
//! one however the process ends.
//!
//! *What it refuses to know.* What was forgotten. And the last second before a power cut: what was not
//! flushed may be gone, and a last line that cannot be read is one of those.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Forgotten;
use super::place;
use crate::domain::digest::Digest;
use crate::domain::job::EntityId;
use crate::domain::time::Timestamp;
use crate::engine::ports::Control;

/// The name of this format and its version.
const SCHEMA: &str = "tanda.anchor.v2";
/// The one before it had no last line.
const SCHEMA_WITHOUT_LAST_LINE: &str = "tanda.anchor.v1";
/// An anchor is a few hundred bytes; what is longer is not one.
const MAX_BYTES: u64 = 16 * 1024;

/// What the anchor says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Anchor {
    schema: String,
    /// Which ledger it belongs to, and what that belongs to.
    ledger_id: String,
    namespace: Option<String>,
    bank_origin: Option<String>,
    /// The number of a commit that is durable.
    sequence: i64,
    /// The positive control on record then.
    control: Option<AnchoredControl>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchoredControl {
    entity_id: String,
    seen_at_ms: i64,
}

/// A ledger, as its anchor names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) ledger_id: String,
    /// The namespace and the bank that it belongs to, once it does.
    pub(super) bound: Option<(String, String)>,
}

impl Anchor {
    /// An anchor for a ledger that has come this far.
    pub(super) fn new(whose: &Whose, sequence: i64, control: Option<&Control>) -> Self {
        let (namespace, bank_origin) = whose.bound.clone().unzip();
        Self {
            schema: SCHEMA.to_owned(),
            ledger_id: whose.ledger_id.clone(),
            namespace,
            bank_origin,
            sequence,
            control: control.map(|control| AnchoredControl {
                entity_id: control.entity_id.as_str().to_owned(),
                seen_at_ms: control.seen_at.as_millis(),
            }),
        }
    }

    /// How far its ledger had come.
    pub(super) const fn sequence(&self) -> i64 {
        self.sequence
    }

    /// Whether it is this ledger's.
    pub(super) fn is_of(&self, ledger_id: &str) -> bool {
        self.ledger_id == ledger_id
    }

    /// The positive control, where it was of this bank.
    pub(super) fn control_of(&self, bank_origin: &str) -> Option<Control> {
        let of_this_bank = self.bank_origin.as_deref() == Some(bank_origin);
        let control = self.control.as_ref().filter(|_| of_this_bank)?;
        Some(Control {
            entity_id: EntityId::parse(&control.entity_id).ok()?,
            seen_at: Timestamp::from_millis(control.seen_at_ms),
        })
    }

    /// Makes it durable; where later commits are named from then on.
    pub(super) fn write(&self, path: &Path) -> io::Result<LastLine> {
        let mut content = serde_json::to_vec(self).expect("strings and integers always serialise");
        content.push(b'\n');
        let at = u64::try_from(content.len()).expect("a small file");
        // It has its room from the beginning: a disk that runs full does not matter to it.
        content.extend(last_line(self.sequence));
        place::replace(path, &content)?;
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        Ok(LastLine { file, at })
    }

    /// Reads it; `None` where there is none.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        use io::Read as _;
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut content)?;
        let end = content.iter().position(|byte| *byte == b'\n');
        let (first, rest) = content.split_at(end.map_or(content.len(), |end| end + 1));
        let mut anchor: Self = serde_json::from_slice(first).map_err(io::Error::from)?;
        if [SCHEMA, SCHEMA_WITHOUT_LAST_LINE].contains(&anchor.schema.as_str()) {
            let last = sequence_in(rest).unwrap_or_default();
            anchor.sequence = anchor.sequence.max(last);
            Ok(Some(anchor))
        } else {
            let message = format!("{} is not {SCHEMA}", anchor.schema);
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }
}

/// The last line of an anchor, written again and again in its place.
pub(super) struct LastLine {
    file: File,
    at: u64,
}

impl LastLine {
    /// Names this commit. It is not flushed: the system has it, whatever becomes of this process.
    pub(super) fn name(&self, sequence: i64) -> io::Result<()> {
        self.file.write_all_at(&last_line(sequence), self.at)
    }
}

/// A number of fixed width, and a checksum: a line that was half written is none.
fn last_line(sequence: i64) -> Vec<u8> {
    let number = format!("{sequence:020}");
    let checksum = Digest::of(number.as_bytes()).first_u64();
    format!("{number} {checksum:016x}\n").into_bytes()
}

fn sequence_in(line: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(line.get(..20)?).ok()?;
    let sequence = number.parse().ok()?;
    (last_line(sequence) == line).then_some(sequence)
}

/// Whether a ledger with this id and sequence remembers all that the anchor has seen.
pub(super) fn compare(
    anchor: Option<&Anchor>,
    ledger_id: &str,
    sequence: i64,
) -> Result<(), Forgotten> {
    match anchor {
        None if sequence == 0 => Ok(()),
        None => Err(Forgotten::AnchorIsMissing { sequence }),
        Some(anchor) if anchor.ledger_id != ledger_id => Err(Forgotten::OtherLedger),
        Some(anchor) if anchor.sequence > sequence => Err(Forgotten::Behind {
            sequence,
            anchored: anchor.sequence,
        }),
        Some(_) => Ok(()),
    }
}
