//! The log of SQLite, as far as it must be read to know that none of it was lost.
//!
//! *What it promises.* A log that breaks off before commits which had been made durable is told from one
//! whose last commit was never finished. Where less than two whole commits lie behind a break, the
//! break may be that of a power cut, and the log is taken as SQLite takes it.
//!
//! *What it refuses to know.* What is on the pages.
//!
//! SQLite believes a log until the first frame whose checksum is wrong, and forgets the rest without a
//! word: it takes the rest for a commit that a power cut tore. But the owner of a ledger flushes each
//! commit before it begins the next, so that a power cut can tear one commit, and no more. Each frame's
//! checksum goes on from that of the frame before: frames that still do so were written one after the
//! other. Where two commits or more lie in such a row behind a break, the break came later.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// <https://sqlite.org/fileformat2.html#the_write_ahead_log>
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The lowest bit says in which order the bytes of a word are summed.
const MAGIC: u32 = 0x377f_0682;
/// The largest page that SQLite knows.
const PAGE_MAX_BYTES: u32 = 65_536;
/// How much is read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Whether commits that had been made durable lie behind a place where this log breaks off. A log that is
/// not there has no such place.
pub(super) fn has_lost_commits(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(READ_BYTES, file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    read(file)
}

fn read(mut log: impl Read) -> io::Result<bool> {
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(false);
    }
    let magic = word(&header, 0);
    let page_bytes = word(&header, 8);
    // A header that cannot be read hides the whole log, and is no break in it: the anchor knows whether
    // there was more.
    if magic & !1 != MAGIC || page_bytes == 0 || page_bytes > PAGE_MAX_BYTES {
        return Ok(false);
    }
    let order = Order {
        is_big: magic & 1 == 1,
    };
    let salts = (word(&header, 16), word(&header, 20));
    let Some(summed) = header.get(..24) else {
        return Ok(false);
    };
    let mut sum = order.sum((0, 0), summed);
    if sum != (word(&header, 24), word(&header, 28)) {
        return Ok(false);
    }
    let page_bytes = usize::try_from(page_bytes).expect("at most 65,536");
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut is_broken = false;
    let mut commits_in_a_row = 0;
    while fill(&mut log, &mut frame)? {
        let stored = (word(&frame, 16), word(&frame, 20));
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        let own = order.sum(order.sum(sum, head.get(..8).unwrap_or_default()), page);
        let goes_on = own == stored && (word(&frame, 8), word(&frame, 12)) == salts;
        if !is_broken && !goes_on {
            is_broken = true;
        } else if is_broken && goes_on {
            commits_in_a_row += u32::from(word(&frame, 4) != 0);
        } else if is_broken {
            commits_in_a_row = 0;
        }
        if commits_in_a_row >= 2 {
            return Ok(true);
        }
        sum = stored;
    }
    Ok(false)
}

/// Whether there was enough to fill this.
fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number at this place; all of a log but its sums is big-endian.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

/// In which order the bytes of a word are summed: that of the machine that began the log.
#[derive(Clone, Copy)]
struct Order {
    is_big: bool,
}

impl Order {
    fn sum(self, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for pair in pairs {
            let (high, low) = self.words(*pair);
            first = first.wrapping_add(high).wrapping_add(second);
            second = second.wrapping_add(low).wrapping_add(first);
        }
        (first, second)
    }

    /// The two words of a pair, in their order.
    fn words(self, pair: [u8; 8]) -> (u32, u32) {
        let halves = |pair: u64| {
            let high = u32::try_from(pair >> 32).expect("half of it");
            (high, u32::try_from(pair & 0xFFFF_FFFF).expect("half of it"))
        };
        if self.is_big {
            halves(u64::from_be_bytes(pair))
        } else {
            let (second, first) = halves(u64::from_le_bytes(pair));
            (first, second)
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;

    /// A log of three commits of several pages each, and where each commit ends.
    fn log() -> (TempDir, Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let db = Connection::open(&path).expect("a file");
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
            .expect("a log");
        let mut ends = Vec::new();
        for table in ["a", "b", "c"] {
            let commit =
                format!("CREATE TABLE {table} (x); INSERT INTO {table} VALUES (zeroblob(9000))");
            db.execute_batch(&format!("BEGIN; {commit}; COMMIT"))
                .expect("a commit");
            ends.push(
                std::fs::read(dir.path().join("file-wal"))
                    .expect("a log")
                    .len(),
            );
        }
        let log = std::fs::read(dir.path().join("file-wal")).expect("a log");
        (dir, log, ends)
    }

    fn lost(log: &[u8]) -> bool {
        read(log).expect("memory")
    }

    #[test]
    fn a_whole_log_and_one_that_ends_early_have_lost_nothing() {
        let (_dir, log, _) = log();
        for end in (0..=log.len()).step_by(97) {
            assert!(!lost(&log[..end]), "{end}");
        }
    }

    #[test]
    fn a_byte_that_is_another_is_found_where_two_commits_are_behind_it() {
        let (_dir, log, ends) = log();
        let frame = FRAME_HEADER_BYTES + 4096;
        for at in (HEADER_BYTES..log.len()).step_by(7) {
            let mut broken = log.clone();
            broken[at] ^= 0x10;
            if at < ends[0] {
                assert!(lost(&broken), "{at} of {ends:?}");
            } else if at >= ends[1] - frame {
                assert!(
                    !lost(&broken),
                    "{at} of {ends:?}: a power cut may have torn it"
                );
            }
        }
    }

    #[test]
    fn remains_of_torn_commits_are_not_taken_for_lost_ones() {
        let (_dir, log, ends) = log();
        let zeros = |log: &mut Vec<u8>, from: usize| log[from..from + 1_000].fill(0);
        let mut torn = log.clone();
        zeros(&mut torn, ends[1]);
        assert!(!lost(&torn));
        // A power cut tore the second commit; what was written over its first pages was torn too.
        let mut torn = log[..ends[1]].to_vec();
        torn.extend(&log[ends[0]..ends[1]]);
        zeros(&mut torn, ends[0]);
        assert!(
            !lost(&torn),
            "the older remains do not go on from the newer"
        );
    }

    #[test]
    fn no_log_and_no_log_of_sqlite_have_lost_nothing() {
        assert!(!has_lost_commits(Path::new("/nonexistent")).expect("none"));
        assert!(!lost(&[]));
        assert!(!lost(&vec![0xFF; 100_000]));
    }
}
