//! The guard against `csv` itself: for any bytes, both see the same records.

use csv::ReaderBuilder;
use proptest::prelude::*;

use super::*;

/// Reads with `csv` over the guard, the reads cut to `step` bytes.
fn read(bytes: &[u8], step: usize) -> (Vec<(Mark, usize)>, Option<Stop>) {
    struct Steps<'a>(&'a [u8], usize);
    impl Read for Steps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(buffer.len());
            self.0.read(&mut buffer[..step])
        }
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Guard::new(Steps(bytes, step), b','));
    let mut record = csv::ByteRecord::new();
    let mut records = Vec::new();
    while let Ok(true) = reader.read_byte_record(&mut record) {
        let mark = reader.get_mut().take_mark();
        records.push((mark, record.len()));
    }
    (records, reader.get_ref().stop())
}

fn lines(bytes: &[u8]) -> Vec<u64> {
    read(bytes, 7).0.iter().map(|(mark, _)| mark.line).collect()
}

#[test]
fn lines_are_physical() {
    assert_eq!(lines(b"a,b\n\n\"x\ny\",2\r\n\r\nlast,row"), [1, 3, 6]);
    assert_eq!(lines(b"a,b\r\r\"x\ry\",2\r\rlast,row\r"), [1, 3, 6]);
    assert_eq!(
        lines(b"a\r\nb\rc\n\r\n\r\"x\r\n\r\ny\"\n\rz"),
        [1, 2, 3, 6, 10]
    );
}

#[test]
fn what_csv_forgives_is_noticed() {
    for (bytes, flaw) in [
        (&b"a,\"b\"c,d\n"[..], Some(Flaw::TextAfterQuote)),
        (b"a,\"b\" ,d\n", Some(Flaw::TextAfterQuote)),
        (b"a,b\"c,d\n", Some(Flaw::StrayQuote)),
        (b"a, \"b\",d\n", Some(Flaw::StrayQuote)),
        (b"a,\"b\"\"c\",d\n", None),
        (b"a,\"\",\"\"\"\"\n", None),
    ] {
        let (records, stop) = read(bytes, 1024);
        assert_eq!(stop, None);
        assert_eq!(records.first().expect("a record").0.flaw, flaw, "{bytes:?}");
    }
}

#[test]
fn what_spoils_a_file_stops_it_after_the_records_before() {
    for (bytes, stop, before) in [
        (&b"a\nb,\"c\nd\n"[..], Stop::UnclosedQuote(2), 1),
        (b"a\nb\0\nc\n", Stop::Nul(2), 1),
    ] {
        for step in [1, 3, 1024] {
            let (records, stopped) = read(bytes, step);
            assert_eq!(stopped, Some(stop), "{bytes:?} by {step}");
            assert!(records.len() >= before, "{bytes:?} by {step}");
        }
    }
}

#[test]
fn i11_a_row_cannot_grow_for_ever() {
    let limit = usize::try_from(MAX_ROW_BYTES).expect("a small limit");
    let mut long = vec![b'x'; limit];
    long.push(b'\n');
    assert_eq!(read(&long, 4096).1, Some(Stop::LongRow(1)));
    assert_eq!(read(&long[1..], 4096).1, None);
    let mut open = b"a\n\"".to_vec();
    open.extend(std::iter::repeat_n(b'x', limit));
    assert_eq!(read(&open, 4096).1, Some(Stop::UnclosedQuote(2)));
}

#[test]
fn how_the_last_record_ends_is_known() {
    for (bytes, ending) in [
        (&b"a,b\n"[..], Ending::LineBreak),
        (b"a,b\r", Ending::LineBreak),
        (b"a,b\r\n", Ending::LineBreak),
        (b"a,b", Ending::File),
        (b"a,\"b\"", Ending::FileAfterQuote),
        (b"a,", Ending::File),
    ] {
        let (records, _) = read(bytes, 1024);
        assert_eq!(records.last().expect("a record").0.ending, ending);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 16, ..ProptestConfig::default() })]
    #[test]
    fn guard_and_csv_see_the_same_records(
        bytes in prop::collection::vec(
            prop::sample::select(&b"aab,,\"\"\n\n\r\r;"[..]), 0..60),
        step in 1_usize..9,
    ) {
        let (records, stop) = read(&bytes, step);
        for (mark, cells) in &records {
            prop_assert_eq!(mark.cells, *cells);
        }
        if stop.is_none() {
            let quotes: usize = bytes.iter().map(|&byte| usize::from(byte == b'"')).sum();
            let mut plain = ReaderBuilder::new().has_headers(false).flexible(true)
                .from_reader(bytes.as_slice());
            prop_assert_eq!(plain.byte_records().count(), records.len());
            prop_assert!(quotes.is_multiple_of(2) || records.iter().any(|(mark, _)| mark.flaw.is_some()));
        }
    }
}
