//! The story of a world, line by line, as a person reads it.

/// How a moment begins and ends where it is shown whole.
const MOMENT: (&str, &str) = ("Moment { mono: ", " }");

/// A line with each moment shown by its monotonic clock alone, and without what says nothing.
pub(crate) fn plain(line: &str) -> String {
    let (opening, closing) = MOMENT;
    let mut told = String::new();
    let mut rest = line;
    while let Some((before, moment)) = rest.split_once(opening) {
        let (clocks, after) = moment.split_once(closing).unwrap_or((moment, ""));
        let mono = clocks.split(',').next().unwrap_or_default();
        told.push_str(before);
        told.push('@');
        told.push_str(mono);
        rest = after;
    }
    told.push_str(rest);
    told.replace(", code: \"\", message: \"\", errors: [], log_id: None", "")
        .replace(", retry_after: None, log_id: None", "")
}

#[test]
fn a_moment_is_shown_by_one_clock() {
    let line = "Ask { at: Moment { mono: 3.5s, wall: Timestamp(1), bank: Timestamp(1) } }";
    assert_eq!(plain(line), "Ask { at: @3.5s }");
    assert_eq!(plain("the process dies"), "the process dies");
}
