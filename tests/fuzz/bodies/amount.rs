//! Amounts as people write them, and which sign a file has before decimals, [`tanda::files`].
//!
//! The first byte says how many decimals the currency has and which sign a person chose, if any; the
//! rest are amounts, a line each. They are read here by a grammar of its own. A file is read in the one
//! way that its amounts allow, each to the same integer, or refused because they contradict each other
//! or can be read in two ways.

use tanda::domain::money::{Currencies, Currency, MAX_AMOUNT_MINOR};
use tanda::files::{Checked, Decimal, DecimalReading, FilesError, ReadingRules, RowContent};

use super::Target;
use super::desk::Desk;

pub(super) const TARGET: Target = Target {
    name: "amount",
    body,
    cases: 2_000,
    words: &[
        "\n",
        ".",
        ",",
        "1.000",
        "50.000",
        "1,5",
        "1.234.567,50",
        "1,234.50",
        "0,5",
        "00",
        "0.500",
        "9007199254740991",
        "90071992547409.91",
        "90071992547409.92",
        "$",
        "COP",
        " ",
        "'",
        "e3",
        "-",
        "99999999999999999999999999999999999999999",
        "\u{ff15}",
        "000",
        ",00",
        ".00",
    ],
};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const LINES_MAX: usize = 12;
/// A longer one is a cell that is too long.
const AMOUNT_MAX_BYTES: usize = 1_000;

/// An amount, in minor units; `None` where it is beyond what can be counted.
type Minor = Option<i128>;

/// What a text can mean by itself.
#[derive(Debug, PartialEq)]
enum Meaning {
    /// No amount.
    None,
    /// Digits alone.
    Plain(Minor),
    /// Only this sign can stand before its decimals.
    Proves(Decimal, Minor),
    /// One sign with three digits after it: with a dot before decimals, and with a comma.
    Either(Option<Minor>, Option<Minor>),
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whole units: no zero before others, in groups of three or in none.
fn whole(text: &str, group: char) -> Option<String> {
    let groups: Vec<&str> = text.split(group).collect();
    let (first, rest) = groups.split_first().expect("a split has a first part");
    let fits = is_digits(first)
        && (*first == "0" || !first.starts_with('0'))
        && rest.iter().all(|part| is_digits(part) && part.len() == 3)
        && (rest.is_empty() || first.len() <= 3 && *first != "0");
    fits.then(|| groups.concat())
}

/// What a text means where this sign stands before decimals.
fn with_sign(text: &str, sign: char, group: char, digits: usize) -> Option<Minor> {
    let (units, fraction) = match text.split_once(sign) {
        Some((units, fraction)) => (units, Some(fraction)),
        None => (text, None),
    };
    let units = whole(units, group)?;
    let fraction = fraction.unwrap_or_default();
    let fits = fraction.is_empty() && !text.contains(sign)
        || is_digits(fraction) && fraction.len() <= digits;
    fits.then(|| format!("{units}{fraction:0<digits$}").parse().ok())
}

fn meaning(text: &str, digits: usize) -> Meaning {
    let signs = text.chars().filter(|c| matches!(c, '.' | ',')).count();
    let dot = with_sign(text, '.', ',', digits);
    let comma = with_sign(text, ',', '.', digits);
    let after_sign = text.rsplit_once(['.', ',']).map(|(_, rest)| rest);
    match (signs, dot, comma) {
        (_, None, None) => Meaning::None,
        (0, Some(minor), _) => Meaning::Plain(minor),
        (1, dot, comma) if after_sign.is_some_and(|rest| rest.len() == 3) => {
            Meaning::Either(dot, comma)
        }
        (_, Some(minor), None) => Meaning::Proves(Decimal::Dot, minor),
        (_, None, Some(minor)) => Meaning::Proves(Decimal::Comma, minor),
        (_, Some(_), Some(_)) => panic!("{text:?} has two readings"),
    }
}

/// What a file of these amounts is: refused with one of two codes, or read with this sign.
fn judged(meanings: &[Meaning], chosen: Option<Decimal>) -> Result<Option<Decimal>, &'static str> {
    let mut known = chosen;
    for meaning in meanings {
        if let Meaning::Proves(decimal, _) = meaning {
            match (chosen, known) {
                (Some(chosen), _) if chosen != *decimal => return Err("other_decimal"),
                (None, Some(known)) if known != *decimal => return Err("two_notations"),
                _ => known = Some(*decimal),
            }
        }
    }
    let is_unsettled = meanings
        .iter()
        .any(|meaning| matches!(meaning, Meaning::Either(..)));
    if known.is_none() && is_unsettled {
        return Err("ambiguous_decimal");
    }
    Ok(known)
}

fn body(bytes: &[u8]) {
    let Some((&choices, rest)) = bytes.split_first() else {
        return;
    };
    let digits = u32::from(choices % 5);
    let chosen = [None, Some(Decimal::Dot), Some(Decimal::Comma)][usize::from(choices / 5 % 3)];
    let text = String::from_utf8_lossy(rest);
    // A mark of a currency is taken off before, and a NUL byte ends a file: neither is about amounts.
    let is_left_out =
        |line: &str| line.len() > AMOUNT_MAX_BYTES || line.contains(['\0', '$', 'C', '\'', '\r']);
    let amounts: Vec<&str> = text.split('\n').take(LINES_MAX).map(trimmed).collect();
    if amounts.iter().any(|line| is_left_out(line)) {
        return;
    }
    let desk = Desk::new(rules(digits, chosen));
    let spool = desk.spool(&file(&amounts)).expect("text is taken");
    let checked = desk.check(&spool);
    let width = usize::try_from(digits).expect("few");
    let meanings: Vec<Meaning> = amounts.iter().map(|text| meaning(text, width)).collect();
    match judged(&meanings, chosen) {
        Err(code) => assert_eq!(refused_with(checked), code, "{amounts:?}"),
        Ok(known) => {
            let checked = checked.unwrap_or_else(|error| panic!("{amounts:?}: {error}"));
            assert_eq!(checked.decimal.decimal(), known);
            let is_chosen = matches!(checked.decimal, DecimalReading::Chosen(_));
            assert_eq!(is_chosen, chosen.is_some());
            for (row, meaning) in desk.rows(&spool, &checked).iter().zip(&meanings) {
                let read = row.job().map(|job| job.amount.minor());
                assert_eq!(read, expected(meaning, known), "{amounts:?}");
                if let RowContent::Bad(errors) = &row.content {
                    assert!(
                        errors.iter().all(|error| error.field == "amount"),
                        "{errors:?}"
                    );
                }
            }
        }
    }
}

fn trimmed(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() && !c.is_control())
}

fn rules(digits: u32, decimal: Option<Decimal>) -> ReadingRules {
    let cop = Currency::parse("COP").expect("a code");
    ReadingRules {
        currencies: Currencies::new([(cop, digits)]),
        decimal,
        ..ReadingRules::default()
    }
}

fn file(amounts: &[&str]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(b';')
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(Vec::new());
    let header = ["entity_id", "card_id", "operation", "amount", "currency"];
    writer.write_record(header).expect("memory");
    for (number, amount) in amounts.iter().enumerate() {
        let id = format!("E{number}");
        writer
            .write_record([&id, CARD, "topup", amount, "COP"])
            .expect("memory");
    }
    writer.into_inner().expect("memory")
}

fn refused_with(checked: Result<Checked, FilesError>) -> &'static str {
    let error = checked.expect_err("amounts that cannot be read in one way");
    error.refusal().expect("the file is at fault").code
}

/// What a job moves by an amount; none where it is no job.
fn expected(meaning: &Meaning, known: Option<Decimal>) -> Option<i64> {
    let minor = match meaning {
        Meaning::None => return None,
        Meaning::Plain(minor) | Meaning::Proves(_, minor) => *minor,
        Meaning::Either(dot, comma) => match known.expect("settled") {
            Decimal::Dot => (*dot)?,
            Decimal::Comma => (*comma)?,
        },
    };
    let minor = i64::try_from(minor?).ok()?;
    (1..=MAX_AMOUNT_MINOR).contains(&minor).then_some(minor)
}
