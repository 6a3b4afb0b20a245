//! Amounts as people type them, and as they must never be taken.

use proptest::prelude::*;

use super::*;

const DOT: Decimal = Decimal::Dot;
const COMMA: Decimal = Decimal::Comma;

fn proven(text: &str, digits: u32) -> Option<(Decimal, i128)> {
    match read_major(text, digits) {
        Ok(Major::Proven(decimal, minor)) => Some((decimal, minor?)),
        Ok(Major::Plain(_) | Major::Unproven { .. }) | Err(_) => None,
    }
}

#[test]
fn plain_digits_prove_nothing_and_need_nothing() {
    for (text, digits, minor) in [
        ("50000", 2, 5_000_000),
        ("1", 0, 1),
        ("0", 2, 0),
        ("123456789012345", 2, 12_345_678_901_234_500),
    ] {
        assert_eq!(
            read_major(text, digits),
            Ok(Major::Plain(Some(minor))),
            "{text}"
        );
    }
}

#[test]
fn a_sign_is_proven_by_another_a_second_or_by_what_follows_it() {
    for (text, digits, decimal, minor) in [
        // Two different signs.
        ("1.234.567,50", 2, COMMA, 123_456_750),
        ("1,234,567.50", 2, DOT, 123_456_750),
        ("1.234,5", 2, COMMA, 123_450),
        ("1,234.5", 2, DOT, 123_450),
        ("1.234,567", 3, COMMA, 1_234_567),
        // A sign twice.
        ("1.234.567", 2, COMMA, 123_456_700),
        ("1,234,567", 2, DOT, 123_456_700),
        ("12.345.678", 0, COMMA, 12_345_678),
        // Not three digits after it.
        ("50000,00", 2, COMMA, 5_000_000),
        ("50000.00", 2, DOT, 5_000_000),
        ("50000.5", 2, DOT, 5_000_050),
        ("0.01", 2, DOT, 1),
        ("0,5", 2, COMMA, 50),
        ("1.2345", 4, DOT, 12_345),
        ("0.00", 2, DOT, 0),
    ] {
        assert_eq!(proven(text, digits), Some((decimal, minor)), "{text}");
    }
}

#[test]
fn one_sign_and_three_digits_prove_nothing() {
    for (text, digits, dot, comma) in [
        ("50.000", 2, None, Some(5_000_000)),
        ("50,000", 2, Some(5_000_000), None),
        ("1.000", 3, Some(1_000), Some(1_000_000)),
        ("1234.500", 3, Some(1_234_500), None),
        ("0.500", 3, Some(500), None),
        ("5.000", 0, None, Some(5_000)),
    ] {
        let unproven = Major::Unproven {
            dot: dot.map(Some),
            comma: comma.map(Some),
        };
        assert_eq!(read_major(text, digits), Ok(unproven), "{text}");
    }
}

#[test]
fn whatever_else_people_write_is_refused() {
    for (text, code) in [
        ("", "amount_missing"),
        ("50.00.0", "amount_format"),
        ("1.23.456", "amount_format"),
        ("1234.567,00", "amount_format"),
        ("1.234.56", "amount_format"),
        ("1.234,567", "amount_format"),
        ("1,234.567", "amount_format"),
        ("1,2,3", "amount_format"),
        ("1,234.567.890", "amount_format"),
        ("1.,5", "amount_format"),
        ("50000.000", "amount_format"),
        ("0.500", "amount_format"),
        ("0.500.000", "amount_format"),
        ("50000.", "amount_format"),
        (".50", "amount_format"),
        ("0050000", "amount_format"),
        ("00", "amount_format"),
        ("01.50", "amount_format"),
        ("-5", "amount_format"),
        ("+5", "amount_format"),
        ("\u{2212}5", "amount_format"),
        ("(5)", "amount_format"),
        ("1e3", "amount_format"),
        ("1.5E3", "amount_format"),
        ("1,5E+03", "amount_format"),
        ("0x10", "amount_format"),
        ("1_000", "amount_format"),
        ("NaN", "amount_format"),
        ("inf", "amount_format"),
        ("50 000", "amount_format"),
        ("50\u{a0}000", "amount_format"),
        ("50\u{202f}000", "amount_format"),
        ("1'234.50", "amount_grouping"),
        ("1’234", "amount_grouping"),
        ("\u{ff15}0000", "amount_format"),
        ("٥٠", "amount_format"),
        ("50٬000", "amount_format"),
        ("5\n0", "amount_format"),
        ("5\t", "amount_format"),
    ] {
        let bad = read_major(text, 2).expect_err(text);
        assert_eq!(bad.code, code, "{text}: {}", bad.message);
    }
    for text in [
        "", "-1", "+1", "1.0", "1,0", "1.000", "1e3", "0x1", " 1", "٥",
    ] {
        assert!(read_minor(text).is_err(), "{text}");
    }
    assert_eq!(read_minor("5000000"), Ok(Some(5_000_000)));
}

#[test]
fn what_one_job_moves_is_bounded() {
    assert_eq!(
        in_range(Some(i128::from(MAX_AMOUNT_MINOR))),
        Ok(MAX_AMOUNT_MINOR)
    );
    for minor in [
        Some(0),
        Some(i128::from(MAX_AMOUNT_MINOR) + 1),
        Some(i128::MAX),
        None,
    ] {
        assert_eq!(
            in_range(minor).expect_err("out of range").code,
            "amount_range"
        );
    }
    let endless = "9".repeat(60);
    assert_eq!(read_major(&endless, 2), Ok(Major::Plain(None)));
    assert_eq!(read_minor(&endless), Ok(None));
}

#[test]
fn marks_go_only_where_they_are_those_of_the_row() {
    let [cop, eur] = ["COP", "EUR"].map(|code| Currency::parse(code).expect("a code"));
    for (text, left) in [
        ("$50.000", "50.000"),
        ("$ 50.000", "50.000"),
        ("$\u{a0}50.000,00", "50.000,00"),
        ("COP 50000", "50000"),
        ("50000 COP", "50000"),
        ("50000COP", "50000"),
        ("COP $50.000", "50.000"),
        ("$ 50.000 COP", "50.000"),
        ("50000", "50000"),
        ("", ""),
        // What is left is no amount, which is said then.
        ("$$5", "$5"),
        ("COPS 5", "COPS 5"),
        ("cop 5", "cop 5"),
        ("-$5", "-$5"),
        ("$-5", "-5"),
        ("$\t5", "\t5"),
    ] {
        assert_eq!(without_marks(text, cop), Ok(left), "{text}");
    }
    for (text, currency) in [("USD 5", cop), ("5 EUR", cop), ("$5", eur), ("COP5", eur)] {
        let bad = without_marks(text, currency).expect_err(text);
        assert_eq!(bad.code, "amount_currency", "{text}");
    }
}

/// Writes minor units with this decimal sign, grouped or not.
fn written(minor: i64, digits: u32, decimal: Decimal, grouped: bool) -> String {
    let plain = major_units(i128::from(minor), digits);
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if grouped && index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(decimal.other().sign());
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(decimal.sign());
        text.push_str(fraction);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 8, ..ProptestConfig::default() })]

    #[test]
    fn an_amount_reads_back_as_it_was_written(
        minor in 1..=MAX_AMOUNT_MINOR, digits in 0_u32..5, comma: bool, grouped: bool,
    ) {
        let decimal = if comma { COMMA } else { DOT };
        let text = written(minor, digits, decimal, grouped);
        let expected = Some(Some(i128::from(minor)));
        let read = match read_major(&text, digits) {
            Ok(Major::Plain(minor)) => Some(minor),
            Ok(Major::Proven(found, minor)) => (found == decimal).then_some(minor),
            Ok(Major::Unproven { dot, comma: as_comma }) => if comma { as_comma } else { dot },
            Err(_) => None,
        };
        prop_assert_eq!(read, expected, "{}", text);
    }

    /// Whatever is read is digits in order, and never another number than they make.
    #[test]
    fn nothing_is_read_that_was_not_written(text in "[0-9., $'eE+-]{0,14}", digits in 0_u32..5) {
        let readings = match read_major(&text, digits) {
            Ok(Major::Plain(minor) | Major::Proven(_, minor)) => vec![minor],
            Ok(Major::Unproven { dot, comma }) => [dot, comma].into_iter().flatten().collect(),
            Err(_) => vec![],
        };
        let all: String = text.chars().filter(char::is_ascii_digit).collect();
        for minor in readings {
            let minor = minor.expect("fourteen digits can be counted");
            let shown = minor.to_string();
            let zeros = usize::try_from(digits).expect("few");
            let padded = format!("{all}{}", "0".repeat(zeros));
            let begins = padded.trim_start_matches('0').starts_with(shown.trim_start_matches('0'));
            prop_assert!(begins, "{} as {}", text, shown);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,24}", digits in 0_u32..5) {
        let cop = Currency::parse("COP").expect("a code");
        if let Ok(rest) = without_marks(&text, cop) {
            read_major(rest, digits).ok();
        }
    }
}
