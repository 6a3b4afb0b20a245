//! Files that belong to their owner alone.
//!
//! *What it promises.* Directories made here are 0700 and files 0600, whatever the umask; a
//! replaced file is whole or as it was, and on the disk when the call returns. A file that is watched is
//! known to be the one that it was.
//!
//! *What it refuses to know.* What is in them.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::domain::time::Timestamp;

/// The longest line that a dated file begins with: a name of a start of the machine and a number.
const DATED_LINE_MAX_BYTES: u64 = 128;

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

/// Kinds of file systems that other machines may write to as well.
const OVER_NETWORK: [&str; 20] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fhgfs",
    "fuse.ceph",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "gfs2",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
];
/// Where Linux tells what is mounted.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The kind of the file system on which this file is or will be, where others may write to it over a
/// network. Elsewhere than on Linux nothing is known of it.
pub(super) fn network_file_system(path: &Path) -> io::Result<Option<String>> {
    let directory = std::fs::canonicalize(directory_of(path))?;
    let mounts = match std::fs::read_to_string(MOUNTS) {
        Ok(mounts) => mounts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = kind_of_mount(&mounts, &directory);
    Ok(kind
        .filter(|kind| OVER_NETWORK.contains(kind))
        .map(str::to_owned))
}

/// The kind of the innermost mount over this directory, as in proc(5): fields, the mount point the
/// fifth, then ` - ` and the kind. Of several at one point the last hides the others.
fn kind_of_mount<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (fields, rest) = line.split_once(" - ")?;
        let point = PathBuf::from(unescaped(fields.split(' ').nth(4)?));
        let kind = rest.split(' ').next()?;
        directory
            .starts_with(&point)
            .then(|| (point.components().count(), kind))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// Spaces and the like are written as a backslash and three octal digits there.
fn unescaped(text: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(bytes)
}

/// How many names this file has.
pub(super) fn names(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.nlink())
}

/// A file that must stay in its place.
pub(super) struct Watched {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Watched {
    /// The file that is at this path now.
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = std::fs::metadata(&path)?;
        Ok(Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the same file is there still. Where the system does not say, it is.
    pub(super) fn is_there(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(now) => (now.dev(), now.ino()) == (self.device, self.inode),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// How many bytes this user may still write where this file is; none where the system does not
/// say. A quota does not show here.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(path).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Dates a file, and begins it with this line, durably: a date alone may otherwise stay in memory for long.
pub(super) fn date(path: &Path, at: Timestamp, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(line.as_bytes())?;
    let millis = u64::try_from(at.as_millis()).unwrap_or_default();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))?;
    file.sync_all()
}

/// The date of a file and what it begins with; none where there is no such file.
pub(super) fn dated(path: &Path) -> io::Result<Option<(Timestamp, String)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let modified = file.metadata()?.modified()?;
    let mut line = Vec::new();
    file.take(DATED_LINE_MAX_BYTES).read_to_end(&mut line)?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Ok(Some((Timestamp::from_millis(millis), line)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS_HERE: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:40 / /srv rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
41 40 254:1 / /srv/local rw - xfs /dev/vdb rw
42 22 0:41 / /mnt/two\\040words rw - cifs //server/share rw
43 22 0:42 / /over rw - ext4 /dev/vdc rw
44 43 0:43 / /over rw - fuse.sshfs host:/ rw
";

    #[test]
    fn f24_the_innermost_mount_says_whether_others_may_write_there() {
        let kind = |path: &str| kind_of_mount(MOUNTS_HERE, Path::new(path));
        assert_eq!(kind("/var/lib/tanda"), Some("ext4"));
        assert_eq!(kind("/srv"), Some("nfs4"));
        assert_eq!(kind("/srv/tanda"), Some("nfs4"));
        assert_eq!(kind("/srvice"), Some("ext4"));
        assert_eq!(kind("/srv/local/tanda"), Some("xfs"));
        assert_eq!(kind("/mnt/two words/tanda"), Some("cifs"));
        assert_eq!(kind("/over"), Some("fuse.sshfs"));
        assert_eq!(kind_of_mount("", Path::new("/")), None);
    }

    /// A flipped bit in the line must not keep the ledger from being opened: the next line replaces it.
    #[test]
    fn a_dated_file_is_read_whatever_it_begins_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        assert_eq!(dated(&path).expect("no file is no fault"), None);
        for content in [&b""[..], b"\xff\xfe 1\n", &[0; 4_096]] {
            std::fs::write(&path, content).expect("a file");
            dated(&path).expect("a date").expect("a file");
        }
        let at = Timestamp::from_millis(1_795_000_000_000);
        date(&path, at, "a line\n").expect("dated");
        let (read, line) = dated(&path).expect("a date").expect("a file");
        assert_eq!(read, at);
        assert!(line.starts_with("a line\n"), "{line:?}");
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "1").expect("a file");
        let watched = Watched::at(path.clone()).expect("a file");
        assert!(watched.is_there());
        std::fs::write(&path, "2").expect("the same file");
        assert!(watched.is_there());
        let other = folder.path().join("other");
        std::fs::write(&other, "3").expect("a file");
        std::fs::rename(&other, &path).expect("replaced");
        assert!(!watched.is_there());
        std::fs::remove_file(&path).expect("removed");
        assert!(!watched.is_there());
    }
}
