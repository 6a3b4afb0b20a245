//! Files that belong to their owner alone.
//!
//! *What it promises.* Directories made here are 0700 and files 0600, whatever the umask; a
//! replaced file is whole or as it was, and on the disk when the call returns.
//!
//! *What it refuses to know.* What is in them.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::domain::time::Timestamp;

/// The path of a file beside this one: the same name with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that holds this file.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the directory of this file, and those above it, where they are missing.
pub(super) fn create_directory_of(path: &Path) -> io::Result<()> {
    let directory = directory_of(path);
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    own(directory, 0o700)
}

/// Makes a new, empty file; refuses to touch one that is there.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    open_private(path, OpenOptions::new().write(true).create_new(true))
}

/// Opens a file whose content does not matter, and makes it where it is missing.
pub(super) fn touch_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open_private(path, options.write(true).create(true).truncate(false))
}

fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    own(path, 0o600)?;
    Ok(file)
}

/// A umask only takes rights away, perhaps our own: what was asked for is set explicitly.
#[cfg(unix)]
fn own(path: &Path, mode: u32) -> io::Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions)
}

/// Elsewhere files have the rights that their directory gives them.
#[cfg(not(unix))]
fn own(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// How many bytes this user may still write where this file is; none where the system does not
/// say. A quota does not show here.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(path).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Dates a file, durably: a date alone may otherwise stay in memory for long.
pub(super) fn date(path: &Path, at: Timestamp) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let millis = u64::try_from(at.as_millis()).unwrap_or_default();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))?;
    file.sync_all()
}

/// The date of a file; none where there is no such file.
pub(super) fn dated(path: &Path) -> io::Result<Option<Timestamp>> {
    let modified = match std::fs::metadata(path) {
        Ok(metadata) => metadata.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Ok(Some(Timestamp::from_millis(millis)))
}

/// Replaces a file's content at once: a new file, flushed, renamed over it, the name flushed too.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = beside(path, ".part");
    let mut file = open_private(
        &part,
        OpenOptions::new().write(true).create(true).truncate(true),
    )?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(&part, path)
}

/// Renames a flushed file and flushes the name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_directory_of(to)
}

/// A new name lasts only once its directory is flushed.
#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Elsewhere directories cannot be flushed by themselves.
#[cfg(not(unix))]
fn sync_directory_of(_path: &Path) -> io::Result<()> {
    Ok(())
}
