//! The strict eye under the `csv` crate.
//!
//! *What this is.* `csv` finds a reading of any bytes: it takes text after a closing quote, a quote
//! inside a plain cell and a quote that is never closed, and it does not say so. [`Guard`] stands
//! between the bytes and `csv`, follows the same grammar byte by byte, and notes for every record
//! where it begins and what is wrong with it. A line ends with LF, CR LF or CR, as `csv` has it.
//!
//! *What it promises.* One [`Mark`] for each record that `csv` yields, in the same order. What
//! spoils the whole file ([`Stop`]) is raised only after every record before it was read. A record
//! never grows beyond [`MAX_ROW_BYTES`] and one read.
//!
//! *What it refuses to know.* Columns, encodings and money.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::MAX_ROW_BYTES;

/// What is known of a record besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The physical line where it begins, from 1.
    pub(super) line: u64,
    /// How many cells it has.
    pub(super) cells: usize,
    /// Whether it spans several physical lines.
    pub(super) spans_lines: bool,
    /// The first place where it breaks the grammar.
    pub(super) flaw: Option<Flaw>,
    /// How it ends.
    pub(super) ending: Ending,
}

/// How a record breaks the grammar of RFC 4180 without making its neighbours unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A quote inside a cell that did not begin with one.
    StrayQuote,
    /// Something other than a delimiter or a line end after a closing quote.
    TextAfterQuote,
}

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a line break.
    LineBreak,
    /// With the file, after a closing quote: the last cell is complete.
    FileAfterQuote,
    /// With the file: nothing shows that the last cell is complete.
    File,
}

/// What makes the rest of a file unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A quote that is never closed, or only after too long; the line where it opens.
    UnclosedQuote(u64),
    /// A record longer than the limit; the line where it begins.
    LongRow(u64),
    /// A NUL byte.
    Nul(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    RecordStart,
    CellStart,
    InCell,
    InQuotes,
    /// A quote was read inside quotes: the end of the cell, or the first half of a doubled quote.
    QuoteSeen,
}

/// Reads bytes for `csv` and watches them.
pub(super) struct Guard<R> {
    inner: R,
    delimiter: u8,
    state: State,
    after_cr: bool,
    /// The physical line of the next byte.
    line: u64,
    /// How many bytes of the record under way have gone by, before this read.
    record_bytes: u64,
    record: Mark,
    quote_line: u64,
    marks: VecDeque<Mark>,
    empty_lines: u64,
    stop: Option<Stop>,
}

const FRESH: Mark = Mark {
    line: 1,
    cells: 1,
    spans_lines: false,
    flaw: None,
    ending: Ending::LineBreak,
};

impl<R> Guard<R> {
    pub(super) const fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            state: State::RecordStart,
            after_cr: false,
            line: 1,
            record_bytes: 0,
            record: FRESH,
            quote_line: 1,
            marks: VecDeque::new(),
            empty_lines: 0,
            stop: None,
        }
    }

    /// The mark of the record that `csv` yielded last.
    pub(super) fn take_mark(&mut self) -> Mark {
        self.marks
            .pop_front()
            .expect("the guard sees each record before csv does, by the same grammar")
    }

    /// What ended the reading early, if anything did.
    pub(super) const fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// How many lines without a single character there were so far; `csv` skips them.
    pub(super) const fn empty_lines(&self) -> u64 {
        self.empty_lines
    }

    /// Follows one byte. Returns whether a record may begin after it.
    fn follow(&mut self, byte: u8) -> Result<bool, Stop> {
        let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        if follows_cr && byte == b'\n' {
            // The second half of one line end.
            return Ok(self.state == State::RecordStart);
        }
        if self.state == State::RecordStart && byte != b'\n' && byte != b'\r' {
            self.record = Mark {
                line: self.line,
                ..FRESH
            };
            self.state = State::CellStart;
        }
        match byte {
            b'"' => self.follow_quote(),
            b'\n' | b'\r' => return Ok(self.follow_line_end()),
            0 => return Err(Stop::Nul(self.line)),
            _ if byte == self.delimiter => {
                if self.state != State::InQuotes {
                    self.record.cells += 1;
                    self.state = State::CellStart;
                }
            }
            _ => match self.state {
                State::RecordStart | State::CellStart => self.state = State::InCell,
                State::InCell | State::InQuotes => {}
                State::QuoteSeen => {
                    self.record.flaw.get_or_insert(Flaw::TextAfterQuote);
                    self.state = State::InCell;
                }
            },
        }
        Ok(false)
    }

    fn follow_quote(&mut self) {
        self.state = match self.state {
            State::RecordStart | State::CellStart => {
                self.quote_line = self.line;
                State::InQuotes
            }
            State::InCell => {
                self.record.flaw.get_or_insert(Flaw::StrayQuote);
                State::InCell
            }
            State::InQuotes => State::QuoteSeen,
            State::QuoteSeen => State::InQuotes,
        };
    }

    /// Returns whether a record or an empty line ended.
    fn follow_line_end(&mut self) -> bool {
        self.line += 1;
        if self.state == State::InQuotes {
            self.record.spans_lines = true;
            return false;
        }
        self.end_line();
        true
    }

    fn end_line(&mut self) {
        match self.state {
            State::RecordStart => self.empty_lines += 1,
            State::CellStart | State::InCell | State::InQuotes | State::QuoteSeen => {
                self.marks.push_back(self.record);
            }
        }
        self.state = State::RecordStart;
    }

    /// Follows what was read and returns how much of it `csv` may see: all of it, or, where the
    /// reading stops, what lies before the record that stops it.
    fn follow_all(&mut self, bytes: &[u8]) -> usize {
        let mut record_begins = 0;
        let mut carried = self.record_bytes;
        for (index, &byte) in bytes.iter().enumerate() {
            match self.follow(byte) {
                Ok(false) => {}
                Ok(true) => {
                    if carried + length(index + 1 - record_begins) > MAX_ROW_BYTES {
                        self.stop = Some(self.too_long());
                        return record_begins;
                    }
                    record_begins = index + 1;
                    carried = 0;
                }
                Err(stop) => {
                    self.stop = Some(stop);
                    return record_begins;
                }
            }
        }
        self.record_bytes = carried + length(bytes.len() - record_begins);
        if self.record_bytes > MAX_ROW_BYTES {
            self.stop = Some(self.too_long());
            return record_begins;
        }
        bytes.len()
    }

    fn too_long(&self) -> Stop {
        match self.state {
            State::InQuotes | State::QuoteSeen => Stop::UnclosedQuote(self.quote_line),
            State::RecordStart | State::CellStart | State::InCell => {
                Stop::LongRow(self.record.line)
            }
        }
    }

    fn follow_end(&mut self) {
        self.record.ending = match self.state {
            State::RecordStart => return,
            State::InQuotes => {
                self.stop = Some(Stop::UnclosedQuote(self.quote_line));
                return;
            }
            State::QuoteSeen => Ending::FileAfterQuote,
            State::CellStart | State::InCell => Ending::File,
        };
        self.marks.push_back(self.record);
        self.state = State::RecordStart;
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length fits 64 bits")
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stopped = || io::Error::other("the reading stopped");
        if self.stop.is_some() {
            return Err(stopped());
        }
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let bytes = buffer.get(..read).expect("a read fits its buffer");
        if bytes.is_empty() {
            self.follow_end();
            return self.stop.map_or(Ok(0), |_| Err(stopped()));
        }
        match self.follow_all(bytes) {
            0 => Err(stopped()),
            seen => Ok(seen),
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
