//! Inputs that are nearly good: a seed with a few edits, so that they come further into a reader
//! than noise would.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// The longest input: beyond every limit on one field, and short enough to run thousands.
pub(crate) const LONGEST_BYTES: usize = 70_000;
/// How often one piece is repeated at most: enough to come over the limits on lengths and counts.
const REPEATS: std::ops::Range<usize> = 2..600;

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Put(Index, Vec<u8>),
    Flip(Index, u8),
    Remove(Index, usize),
    Replace(Index, usize, Vec<u8>),
    Repeat(Index, usize, usize),
    Cut(Index),
    /// A piece of another seed.
    Graft(Index, Index, Index, usize),
}

/// Inputs from these seeds and from words that mean something to the reader.
pub(crate) fn mutated(
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
) -> impl Strategy<Value = Vec<u8>> {
    let one = any::<Index>();
    let edits = vec(edit(words), 0..6);
    let noise = vec(any::<u8>(), 0..200);
    let grown = (one, edits).prop_map(move |(seed, edits)| {
        let mut bytes = seed.get(&seeds).clone();
        for edit in edits {
            edit.apply(&mut bytes, &seeds);
            bytes.truncate(LONGEST_BYTES);
        }
        bytes
    });
    prop_oneof![30 => grown, 1 => noise]
}

fn edit(words: &'static [&'static str]) -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let length = || prop_oneof![3 => 1..8_usize, 1 => 1..80_usize];
    prop_oneof![
        4 => (at(), piece(words)).prop_map(|(at, piece)| Edit::Put(at, piece)),
        2 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        3 => (at(), length()).prop_map(|(at, length)| Edit::Remove(at, length)),
        4 => (at(), length(), piece(words))
            .prop_map(|(at, length, piece)| Edit::Replace(at, length, piece)),
        2 => (at(), length(), prop_oneof![4 => 2..5_usize, 1 => REPEATS])
            .prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        1 => at().prop_map(Edit::Cut),
        2 => (at(), at(), at(), length())
            .prop_map(|(at, seed, from, length)| Edit::Graft(at, seed, from, length)),
    ]
}

/// A word of the reader's language, a character that readers trip over, or a few bytes.
fn piece(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    const TRAPS: &[&str] = &[
        "\0",
        "\n",
        "\r\n",
        "\t",
        " ",
        "\"",
        "'",
        "\\",
        ",",
        ";",
        ".",
        "-",
        "+",
        "=",
        "0",
        "9",
        "\u{a0}",
        "\u{feff}",
        "\u{202e}",
        "\u{301}",
        "ñ",
        "٥",
        "\u{ff15}",
        "e3",
        "0x10",
        "\u{1b}[2J",
        "9007199254740992",
        "18446744073709551616",
        "4111111111111111",
        "car_5tgliBmzjZ6mpQPRbQjfKj",
    ];
    let word = |from: &'static [&'static str]| {
        prop::sample::select(from).prop_map(|word| word.as_bytes().to_vec())
    };
    prop_oneof![4 => word(words), 3 => word(TRAPS), 2 => vec(any::<u8>(), 1..4)]
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match self {
            Self::Put(at, piece) => {
                let at = place(at, bytes);
                bytes.splice(at..at, piece);
            }
            Self::Flip(at, bits) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Remove(at, length) => {
                let at = place(at, bytes);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Self::Replace(at, length, piece) => {
                let at = place(at, bytes);
                bytes.splice(at..(at + length).min(bytes.len()), piece);
            }
            Self::Repeat(at, length, times) => {
                let at = place(at, bytes);
                let end = (at + length).min(bytes.len());
                let more = bytes[at..end].repeat(times - 1);
                bytes.splice(end..end, more);
            }
            Self::Cut(at) => bytes.truncate(place(at, bytes)),
            Self::Graft(at, seed, from, length) => {
                let seed = seed.get(seeds);
                let from = place(from, seed);
                let piece = &seed[from..(from + length).min(seed.len())];
                let at = place(at, bytes);
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// So many inputs, as a run would have them.
pub(crate) fn draw(
    inputs: &impl Strategy<Value = Vec<u8>>,
    runner: &mut TestRunner,
    count: usize,
) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| {
            let tree = inputs.new_tree(runner).expect("nothing is filtered");
            tree.current()
        })
        .collect()
}
