//! A file that holds a secret and nothing else.
//!
//! *What it promises.* It is read only where nobody but its owner can change it, and nobody but its
//! owner and group can read it; who could, and what to do, is said. What was read is in no error.
//!
//! *What it refuses to know.* What the secret is for.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use secrecy::SecretString;

/// The largest such file: far above any API key, JWT or URL, far below anything that hurts.
const MAX_BYTES: u64 = 16 * 1024;

/// What nobody but its owner may do with such a file: its group may not write it, others may do
/// nothing. The group may read it: systemd hands credentials over with an access list, whose mask
/// shows as the group's right to read (0440) where no group has it.
const FORBIDDEN_MODE: u32 = 0o027;

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is no regular file that this user may read.
    #[error("cannot be read; it must be a regular file that this user may read")]
    Unreadable(#[source] io::Error),
    /// Others can have it, so that it is no secret: who, and what to do.
    #[error("{0}")]
    Open(String),
    /// It holds more than a secret.
    #[error("is larger than 16 KiB; it must hold the secret and nothing else")]
    TooLarge,
}

/// What tells one version of a file from the next without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// A file replaced by a rename may keep both of the above.
    inode: u64,
    access: Access,
}

/// Whose a file is and what others may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    owner: u32,
    mode: u32,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode: inode(metadata),
            access: Access::of(metadata),
        }
    }
}

#[cfg(unix)]
impl Access {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            owner: metadata.uid(),
            mode: metadata.mode() & 0o7777,
        }
    }

    /// Who can have this file besides this user, and what to do; `path` is for the remedy.
    fn fault(self, own: u32, path: &Path) -> Option<String> {
        let path = path.display();
        if self.owner != own && self.owner != 0 {
            return Some(format!(
                "belongs to another user (number {}), who can read and replace it; let it belong \
                 to this user or to root: chown {own} {path}",
                self.owner
            ));
        }
        (self.mode & FORBIDDEN_MODE != 0).then(|| {
            format!(
                "can be read or written by others (its mode is {:04o}); take that away: \
                 chmod 600 {path}",
                self.mode
            )
        })
    }
}

/// Elsewhere the rights of a file do not show.
#[cfg(not(unix))]
impl Access {
    fn of(_: &Metadata) -> Self {
        Self { owner: 0, mode: 0 }
    }

    fn fault(self, _: u32, _: &Path) -> Option<String> {
        None
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

/// The secret in this file, without the white space around it.
///
/// # Errors
/// [`SecretFileError`] where it cannot be read, or others can have it.
pub fn read_secret(path: &Path) -> Result<SecretString, SecretFileError> {
    read(path).map(|(secret, _)| secret)
}

/// The secret, and what the file looked like.
pub(super) fn read(path: &Path) -> Result<(SecretString, Stamp), SecretFileError> {
    let fault = SecretFileError::Unreadable;
    // Opening a pipe would wait for a writer, so look before.
    if !path.metadata().map_err(fault)?.is_file() {
        return Err(fault(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(fault)?;
    // Taken before the bytes: a change in between shows as a newer stamp at the next look.
    let stamp = Stamp::of(&file.metadata().map_err(fault)?);
    let own = rustix::process::geteuid().as_raw();
    if let Some(why) = stamp.access.fault(own, path) {
        return Err(SecretFileError::Open(why));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(fault)?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if length > MAX_BYTES {
        return Err(SecretFileError::TooLarge);
    }
    Ok((SecretString::from(text.trim()), stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s19_a_file_of_another_user_is_no_secret() {
        let path = Path::new("/etc/tanda/token");
        for (owner, is_good) in [(0, true), (1_000, true), (1_001, false)] {
            let access = Access { owner, mode: 0o600 };
            assert_eq!(access.fault(1_000, path).is_none(), is_good, "{owner}");
        }
    }
}
