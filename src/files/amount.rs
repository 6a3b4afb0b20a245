//! Amounts as people type them, where there is only one way to read them.
//!
//! *What it promises.* An amount in major units is plain digits, or digits, a dot and exactly as
//! many digits as the currency has. Whatever else people write (grouping, decimal commas, signs,
//! exponents, currency marks) is refused with what to write instead: readers in the wild turn
//! `50.000` into 50. Integers only; nothing is rounded.
//!
//! *What it refuses to know.* Which notation a file uses as a whole.

use crate::domain::money::{MAX_AMOUNT_MINOR, major_units};

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadAmount {
    pub(super) code: &'static str,
    pub(super) message: String,
}

fn bad<T>(code: &'static str, message: impl Into<String>) -> Result<T, BadAmount> {
    Err(BadAmount {
        code,
        message: message.into(),
    })
}

/// Reads major units, as the column `amount` has them, into minor units of a currency with this
/// many minor digits.
pub(super) fn read_major(text: &str, digits: u32) -> Result<i64, BadAmount> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if !is_digits(whole) || fraction.is_some_and(|fraction| !is_digits(fraction)) {
        return not_an_amount(text, digits);
    }
    if whole.len() > 1 && whole.starts_with('0') {
        let message = "begins with zeros, as amounts in cents without a dot do; write it without";
        return bad("amount_format", message);
    }
    let fraction = match fraction {
        None => "",
        Some(fraction) if fraction.len() == 3 && whole.len() <= 3 && whole != "0" => {
            return two_readings(whole, fraction, digits);
        }
        Some(fraction) if u32::try_from(fraction.len()) == Ok(digits) => fraction,
        Some(fraction) => return wrong_fraction(whole, fraction, digits),
    };
    let scale = 10_i64.checked_pow(digits);
    let minor = scale.and_then(|scale| {
        let whole = whole.parse::<i64>().ok()?.checked_mul(scale)?;
        let fraction = match fraction {
            "" => 0,
            fraction => fraction.parse::<i64>().ok()?,
        };
        whole.checked_add(fraction)
    });
    in_range(minor)
}

/// Reads minor units, as the column `amount_minor` has them.
pub(super) fn read_minor(text: &str) -> Result<i64, BadAmount> {
    if text.is_empty() {
        return bad("amount_missing", "is empty");
    }
    if !is_digits(text) {
        let message = "is not a whole number of minor units (cents): digits only, such as 5000000";
        return bad("amount_format", message);
    }
    in_range(text.parse().ok())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn in_range(minor: Option<i64>) -> Result<i64, BadAmount> {
    match minor {
        Some(0) => bad("amount_range", "is zero; there is nothing to move"),
        Some(minor) if minor <= MAX_AMOUNT_MINOR => Ok(minor),
        Some(_) | None => bad("amount_range", "is more than 2^53 - 1 minor units"),
    }
}

/// `50.000`: fifty thousand to most of the world, fifty to the rest.
fn two_readings(whole: &str, thousands: &str, digits: u32) -> Result<i64, BadAmount> {
    let message = format!(
        "can be {whole}{thousands} with a point between thousands, or {whole} with three \
         decimals; write {} or {}",
        example(&format!("{whole}{thousands}"), digits),
        example(whole, digits)
    );
    bad("amount_grouping", message)
}

fn wrong_fraction(whole: &str, fraction: &str, digits: u32) -> Result<i64, BadAmount> {
    let message = match digits {
        0 => format!("has decimals, which this currency does not; write {whole}"),
        _ => format!(
            "has {} after the dot where this currency has {digits}; write it like {}",
            fraction.len(),
            example(whole, digits)
        ),
    };
    bad("amount_format", message)
}

/// Whole major units with the currency's decimals.
fn example(whole: &str, digits: u32) -> String {
    whole
        .parse::<i128>()
        .ok()
        .and_then(|whole| whole.checked_mul(10_i128.checked_pow(digits)?))
        .map_or_else(|| whole.to_owned(), |minor| major_units(minor, digits))
}

/// Says what a text has that an amount may not have, by the first thing that explains it.
fn not_an_amount(text: &str, digits: u32) -> Result<i64, BadAmount> {
    let like = example("50000", digits);
    if text.is_empty() {
        return bad("amount_missing", "is empty");
    }
    if text.starts_with(['-', '+', '\u{2212}', '(']) {
        let message = "has a sign; an amount has none, and the column operation says topup or \
                       withdrawal";
        return bad("amount_format", message);
    }
    let digits_and_signs = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '\'');
    if text.chars().all(digits_and_signs) && text.contains([',', '\'']) {
        let message = format!(
            "has a comma or an apostrophe; write it without anything between thousands and with \
             a dot before the decimals, like {like}"
        );
        return bad("amount_grouping", message);
    }
    if text.chars().all(digits_and_signs) && text.matches('.').count() > 1 {
        let message = format!("has more than one dot; write it like {like}");
        return bad("amount_grouping", message);
    }
    if text.contains(char::is_whitespace) {
        return bad(
            "amount_format",
            format!("has a space in it; write it like {like}"),
        );
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['e', 'E']) {
        let message =
            format!("is in scientific form, in which a sheet loses digits; write it like {like}");
        return bad("amount_format", message);
    }
    if text.chars().any(|c| c.is_numeric() && !c.is_ascii_digit()) {
        let message = format!("has digits other than 0 to 9; write it like {like}");
        return bad("amount_format", message);
    }
    bad("amount_format", format!("is not an amount like {like}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_amounts_are_read() {
        for (text, digits, minor) in [
            ("50000", 2, 5_000_000),
            ("50000.00", 2, 5_000_000),
            ("0.01", 2, 1),
            ("1234.56", 2, 123_456),
            ("50000", 0, 50_000),
            ("0.500", 3, 500),
            ("1234.500", 3, 1_234_500),
            ("90071992547409.91", 2, MAX_AMOUNT_MINOR),
        ] {
            assert_eq!(read_major(text, digits), Ok(minor), "{text}");
        }
        assert_eq!(read_minor("5000000"), Ok(5_000_000));
    }

    #[test]
    fn whatever_else_people_write_is_refused() {
        for (text, code) in [
            ("", "amount_missing"),
            ("0", "amount_range"),
            ("0.00", "amount_range"),
            ("90071992547409.92", "amount_range"),
            ("99999999999999999999999999", "amount_range"),
            ("50.000", "amount_grouping"),
            ("5.000", "amount_grouping"),
            ("500.000", "amount_grouping"),
            ("50,000", "amount_grouping"),
            ("50000,00", "amount_grouping"),
            ("1,234.50", "amount_grouping"),
            ("1.234.567,50", "amount_grouping"),
            ("1.234.567", "amount_grouping"),
            ("1'234.50", "amount_grouping"),
            ("50.00.0", "amount_grouping"),
            ("50000.5", "amount_format"),
            ("50000.000", "amount_format"),
            ("50000.", "amount_format"),
            (".50", "amount_format"),
            ("0050000", "amount_format"),
            ("-5", "amount_format"),
            ("+5", "amount_format"),
            ("\u{2212}5", "amount_format"),
            ("(5)", "amount_format"),
            ("1e3", "amount_format"),
            ("1.5E3", "amount_format"),
            ("0x10", "amount_format"),
            ("1_000", "amount_format"),
            ("NaN", "amount_format"),
            ("inf", "amount_format"),
            ("$50000", "amount_format"),
            ("50000 COP", "amount_format"),
            ("50 000", "amount_format"),
            ("50\u{a0}000", "amount_format"),
            ("\u{ff15}0000", "amount_format"),
            ("٥٠", "amount_format"),
            ("5\n0", "amount_format"),
        ] {
            let bad = read_major(text, 2).expect_err(text);
            assert_eq!(bad.code, code, "{text}: {}", bad.message);
        }
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.0",
            "1,0",
            "1e3",
            "0x1",
            " 1",
            "٥",
            "9007199254740992",
        ] {
            assert!(read_minor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_message_says_both_readings() {
        let bad = read_major("50.000", 2).expect_err("two readings");
        assert!(bad.message.contains("50000.00 or 50.00"), "{}", bad.message);
    }

    #[test]
    fn three_digits_after_the_dot_prove_nothing_even_where_the_currency_has_three() {
        assert_eq!(
            read_major("1.000", 3).expect_err("two readings").code,
            "amount_grouping"
        );
        assert_eq!(read_major("1", 0), Ok(1));
        assert_eq!(
            read_major("1.0", 0).expect_err("no decimals").code,
            "amount_format"
        );
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_as_it_is_shown(minor in 1..=MAX_AMOUNT_MINOR, digits in 0_u32..3) {
            prop_assert_eq!(read_major(&major_units(i128::from(minor), digits), digits), Ok(minor));
        }

        #[test]
        fn no_text_panics_and_only_plain_ones_are_read(text in ".{0,24}", digits in 0_u32..5) {
            if let Ok(minor) = read_major(&text, digits) {
                let shown = major_units(i128::from(minor), digits);
                let whole = shown.split('.').next().unwrap_or_default();
                prop_assert!(text == shown || text == whole, "{} as {}", text, shown);
            }
        }
    }
}
