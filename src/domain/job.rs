//! The job: one valid request to apply one operation to one card.
//!
//! *What it promises.* A [`Job`] can only be made from a [`Draft`] that passed every rule; what
//! failed is a list of [`Fault`]s, all at once. A [`CardId`] never prints itself whole.
//!
//! *What it refuses to know.* Where a draft came from and how it was written.

use std::fmt;

use unicode_normalization::is_nfc;

use super::card_number;
use super::digest::Digest;
use super::money::{Amount, Currencies, Currency, major_units};
pub use super::operation::Operation;
use super::time::Timestamp;

/// The longest `entity_id`, in Unicode scalar values (the bank's sibling filter allows 1..255).
pub const ENTITY_ID_MAX_CHARS: usize = 255;
/// The longest description, in Unicode scalar values (the bank's sibling fields allow 255).
pub const DESCRIPTION_MAX_CHARS: usize = 255;
/// Letters before the underscore of a card id (the bank's page: `^[A-Za-z]{2,7}_[\w-]{22}$`).
const CARD_PREFIX_LETTERS: std::ops::RangeInclusive<usize> = 2..=7;
/// Characters after the underscore of a card id (same rule).
const CARD_SUFFIX_CHARS: usize = 22;

/// The name a job has for ever, chosen by whoever asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(String);

impl EntityId {
    /// Reads 1 to 255 characters in NFC without control characters or white space at the ends.
    ///
    /// # Errors
    /// The fault that says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |code, message: String| Fault::new(Field::EntityId, code, text, message);
        let length = text.chars().count();
        if length == 0 {
            return Err(fault(
                "entity_id_missing",
                "is empty; every job needs its own".to_owned(),
            ));
        }
        if length > ENTITY_ID_MAX_CHARS {
            let message = format!("has {length} characters; at most {ENTITY_ID_MAX_CHARS} fit");
            return Err(fault("entity_id_length", message));
        }
        if text.trim() != text {
            return Err(fault(
                "entity_id_space",
                "has white space at an end; remove it".to_owned(),
            ));
        }
        if text.chars().any(char::is_control) {
            let message = "has a control character (a line break or tab, perhaps)".to_owned();
            return Err(fault("entity_id_control", message));
        }
        if !is_nfc(text) {
            let message =
                "is not in Unicode form NFC: two spellings would look the same".to_owned();
            return Err(fault("entity_id_form", message));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A card, as the bank names it. `Display` and `Debug` shorten it (I12).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardId(String);

impl CardId {
    /// Reads 2 to 7 ASCII letters, `_`, and 22 of `A-Z a-z 0-9 _ -`.
    ///
    /// # Errors
    /// The fault that says what does not fit; its value is shortened.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let fault =
            |message: String| Fault::new(Field::CardId, "card_id", &shorten_card(text), message);
        if card_number::is_one(text) {
            let message = "is a card number; only the bank's own name for the card is taken, and \
                           a card number must not be in here at all";
            let (field, shown) = (Field::CardId, "...");
            return Err(Fault::new(field, "card_number", shown, message.to_owned()));
        }
        let Some((prefix, suffix)) = text.split_once('_') else {
            return Err(fault(
                "has no underscore; it should look like car_ and 22 more".to_owned(),
            ));
        };
        let prefix_fits = CARD_PREFIX_LETTERS.contains(&prefix.len())
            && prefix.bytes().all(|b| b.is_ascii_alphabetic());
        if !prefix_fits {
            return Err(fault(
                "must begin with 2 to 7 letters before the underscore".to_owned(),
            ));
        }
        let length = suffix.chars().count();
        if length != CARD_SUFFIX_CHARS {
            let message = format!("has {length} characters after _, needs {CARD_SUFFIX_CHARS}");
            return Err(fault(message));
        }
        if !suffix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return Err(fault(
                "has a character that no card id has after the _".to_owned(),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole id, for the bank, the ledger and the outcome; never for a log or an error.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first seven and last three characters; nothing of what is too short to be shortened.
fn shorten_card(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    match (chars.first_chunk::<7>(), chars.last_chunk::<3>()) {
        (Some(head), Some(tail)) if chars.len() > 12 => {
            format!(
                "{}...{}",
                head.iter().collect::<String>(),
                tail.iter().collect::<String>()
            )
        }
        _ => "...".to_owned(),
    }
}

impl fmt::Display for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shorten_card(&self.0))
    }
}

impl fmt::Debug for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A job as asked for, before it is known to be valid. Money is already an integer of minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// See [`EntityId`].
    pub entity_id: String,
    /// See [`CardId`].
    pub card_id: String,
    /// See [`Operation`].
    pub operation: String,
    /// Minor units.
    pub amount_minor: i64,
    /// See [`Currency`].
    pub currency: String,
    /// Text for the bank's list, if any.
    pub description: Option<String>,
    /// RFC 3339; after it the job is not sent at all.
    pub not_after: Option<String>,
}

/// One valid request to apply one operation to one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name, for ever.
    pub entity_id: EntityId,
    /// The card it moves money on.
    pub card_id: CardId,
    /// What it does.
    pub operation: Operation,
    /// How much.
    pub amount: Amount,
    /// Text for the bank's list.
    pub description: Option<String>,
    /// After this nothing is sent any more.
    pub not_after: Option<Timestamp>,
}

impl Job {
    /// What the job says: SHA-256 of card, operation, amount and currency. Another description or
    /// `not_after` under the same `entity_id` is the same job.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of_fields(&[
            self.card_id.as_str(),
            self.operation.as_str(),
            &self.amount.minor().to_string(),
            self.amount.currency().as_str(),
        ])
    }
}

impl Draft {
    /// The job that this draft asks for.
    ///
    /// # Errors
    /// Every fault of the draft, in the order of its fields.
    pub fn validate(&self, currencies: &Currencies) -> Result<Job, Vec<Fault>> {
        let entity_id = EntityId::parse(&self.entity_id);
        let card_id = CardId::parse(&self.card_id);
        let operation = self.parse_operation();
        let amount = self.parse_amount(currencies);
        let description = self.parse_description();
        let not_after = self.parse_not_after();
        match (
            entity_id,
            card_id,
            operation,
            amount,
            description,
            not_after,
        ) {
            (
                Ok(entity_id),
                Ok(card_id),
                Ok(operation),
                Ok(amount),
                Ok(description),
                Ok(not_after),
            ) => Ok(Job {
                entity_id,
                card_id,
                operation,
                amount,
                description,
                not_after,
            }),
            (entity_id, card_id, operation, amount, description, not_after) => Err([
                entity_id.err(),
                card_id.err(),
                operation.err(),
                amount.err(),
                description.err(),
                not_after.err(),
            ]
            .into_iter()
            .flatten()
            .collect()),
        }
    }

    fn parse_operation(&self) -> Result<Operation, Fault> {
        Operation::parse(&self.operation).ok_or_else(|| {
            let message = "is neither topup nor withdrawal".to_owned();
            Fault::new(Field::Operation, "operation", &self.operation, message)
        })
    }

    fn parse_amount(&self, currencies: &Currencies) -> Result<Amount, Fault> {
        let currency = Currency::parse(&self.currency)
            .filter(|&currency| currencies.minor_digits(currency).is_some())
            .ok_or_else(|| {
                let known: Vec<_> = currencies
                    .iter()
                    .map(|(currency, _)| currency.to_string())
                    .collect();
                let message = format!("is not a currency in use here ({})", known.join(", "));
                Fault::new(Field::Currency, "currency", &self.currency, message)
            })?;
        let fault = |code, message: String| {
            let value = self.amount_minor.to_string();
            Fault::new(Field::Amount, code, &value, message)
        };
        let amount = Amount::new(self.amount_minor, currency).ok_or_else(|| {
            let message = "must be more than zero and at most 2^53 - 1 minor units".to_owned();
            fault("amount_range", message)
        })?;
        match currencies.max_minor(currency) {
            Some(max) if amount.minor() > max => {
                let digits = currencies.minor_digits(currency).unwrap_or_default();
                let message = format!(
                    "is more than {currency} {}, the most that one job may move here",
                    major_units(i128::from(max), digits)
                );
                Err(fault("amount_limit", message))
            }
            Some(_) | None => Ok(amount),
        }
    }

    fn parse_description(&self) -> Result<Option<String>, Fault> {
        let Some(text) = self.description.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let fault =
            |message: &str| Fault::new(Field::Description, "description", text, message.to_owned());
        if text.chars().count() > DESCRIPTION_MAX_CHARS {
            return Err(fault("has more than 255 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(fault(
                "has a control character (a line break or tab, perhaps)",
            ));
        }
        if card_number::is_in(text) {
            let message = "has a card number in it, or what cannot be told from one (13 to 19 \
                           digits with a right check digit); card numbers must not be in here";
            let (field, shown) = (Field::Description, "...");
            return Err(Fault::new(field, "card_number", shown, message.to_owned()));
        }
        Ok(Some(text.to_owned()))
    }

    fn parse_not_after(&self) -> Result<Option<Timestamp>, Fault> {
        self.not_after.as_deref().map_or(Ok(None), |text| {
            Timestamp::parse_rfc3339(text).map(Some).ok_or_else(|| {
                let message = "is not a time like 2026-11-30T23:59:59-05:00".to_owned();
                Fault::new(Field::NotAfter, "not_after", text, message)
            })
        })
    }
}

/// A field of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `entity_id`
    EntityId,
    /// `card_id`
    CardId,
    /// `operation`
    Operation,
    /// `amount`
    Amount,
    /// `currency`
    Currency,
    /// `description`
    Description,
    /// `not_after`
    NotAfter,
}

impl Field {
    /// Its name in files, messages and errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntityId => "entity_id",
            Self::CardId => "card_id",
            Self::Operation => "operation",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Description => "description",
            Self::NotAfter => "not_after",
        }
    }
}

/// One rule that a draft breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field at fault.
    pub field: Field,
    /// A stable word for the rule, the same in every language.
    pub code: &'static str,
    /// What stood there, cut to [`Fault::VALUE_MAX_CHARS`]; a card id is shortened.
    pub value: String,
    /// What is wrong and what would be right, in words.
    pub message: String,
}

impl Fault {
    /// The longest value kept, in characters: enough to recognise it.
    pub const VALUE_MAX_CHARS: usize = 80;

    /// A fault; the value is cut where it is long.
    #[must_use]
    pub fn new(field: Field, code: &'static str, value: &str, message: String) -> Self {
        let value = value.chars().take(Self::VALUE_MAX_CHARS).collect();
        Self {
            field,
            code,
            value,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            entity_id: "NOM-2026-11-0042".to_owned(),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: "topup".to_owned(),
            amount_minor: 5_000_000,
            currency: "COP".to_owned(),
            description: Some("Nómina noviembre".to_owned()),
            not_after: Some("2026-11-30T23:59:59-05:00".to_owned()),
        }
    }

    #[test]
    fn a_good_draft_is_a_job() {
        let job = draft().validate(&Currencies::default()).expect("a job");
        assert_eq!(job.entity_id.as_str(), "NOM-2026-11-0042");
        assert_eq!(job.amount.minor(), 5_000_000);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = Draft {
            entity_id: " x".to_owned(),
            card_id: "car_short".to_owned(),
            operation: "TOPUP".to_owned(),
            amount_minor: 0,
            description: Some("a\nb".to_owned()),
            not_after: Some("soon".to_owned()),
            ..draft()
        };
        let faults = bad.validate(&Currencies::default()).expect_err("faults");
        let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(
            codes,
            [
                "entity_id_space",
                "card_id",
                "operation",
                "amount_range",
                "description",
                "not_after"
            ]
        );
    }

    #[test]
    fn entity_ids_that_could_be_taken_for_another_are_refused() {
        for (text, code) in [
            ("", "entity_id_missing"),
            (" a", "entity_id_space"),
            ("a\u{a0}", "entity_id_space"),
            ("a\tb", "entity_id_control"),
            ("a\nb", "entity_id_control"),
            ("no\u{301}mina", "entity_id_form"),
            (&"a".repeat(256), "entity_id_length"),
        ] {
            assert_eq!(
                EntityId::parse(text).expect_err(text).code,
                code,
                "{text:?}"
            );
        }
        assert!(EntityId::parse(&"ñ".repeat(255)).is_ok());
    }

    #[test]
    fn s5_a_card_id_matches_whole_and_in_ascii() {
        for text in [
            "",
            "car5tgliBmzjZ6mpQPRbQjfKj",
            "c_5tgliBmzjZ6mpQPRbQjfKj",
            "carcardx_5tgliBmzjZ6mpQPRbQjfKj",
            "car_5tgliBmzjZ6mpQPRbQjfK",
            "car_5tgliBmzjZ6mpQPRbQjfKj\n",
            "car_../../../../v1/accountx",
            "car_5tgliBmzjZ6mpQPRbQjf%2f",
            "car_5tgliBmzjZ6mpQPRbQjfKٳ",
        ] {
            assert!(CardId::parse(text).is_err(), "{text:?}");
        }
        assert!(CardId::parse("car_5tgliBmzjZ6mpQPRbQ_f-j").is_ok());
    }

    #[test]
    fn i12_a_card_id_never_prints_whole() {
        let card = CardId::parse("car_5tgliBmzjZ6mpQPRbQjfKj").expect("a card");
        assert_eq!(card.to_string(), "car_5tg...fKj");
        assert_eq!(format!("{card:?}"), "car_5tg...fKj");
        let fault = CardId::parse("car_5tgliBmzjZ6mpQPRbQjf").expect_err("too short");
        assert!(!fault.value.contains("liBmzj"));
    }

    /// S27, I12: neither the field nor the fault keeps a card number.
    #[test]
    fn s27_i12_a_card_number_is_taken_nowhere_and_shown_nowhere() {
        let number = "4111111111111111";
        let bad = Draft {
            card_id: number.to_owned(),
            description: Some(format!("Tarjeta {number}, nómina")),
            ..draft()
        };
        let faults = bad.validate(&Currencies::default()).expect_err("faults");
        let told: Vec<_> = faults.iter().map(|f| (f.field, f.code)).collect();
        assert_eq!(
            told,
            [
                (Field::CardId, "card_number"),
                (Field::Description, "card_number")
            ]
        );
        assert!(!format!("{faults:?}").contains("1111"), "{faults:?}");
        let id = Draft {
            entity_id: number.to_owned(),
            ..draft()
        };
        assert!(id.validate(&Currencies::default()).is_ok(), "only a notice");
    }

    /// F31: a slip of the unit must not move a hundredfold.
    #[test]
    fn no_job_moves_more_than_its_currencys_ceiling() {
        let cop = Currency::parse("COP").expect("a code");
        let at = |max| Currencies::default().with_ceiling(cop, max);
        assert!(draft().validate(&at(5_000_000)).is_ok());
        let faults = draft().validate(&at(4_999_999)).expect_err("above");
        let [fault] = faults.as_slice() else {
            panic!("one fault: {faults:?}");
        };
        assert_eq!((fault.field, fault.code), (Field::Amount, "amount_limit"));
        assert!(fault.message.contains("COP 49999.99"), "{}", fault.message);
    }

    #[test]
    fn the_fingerprint_is_what_the_job_says() {
        let job = draft().validate(&Currencies::default()).expect("a job");
        let described = Job {
            description: None,
            not_after: None,
            ..job.clone()
        };
        let withdrawn = Job {
            operation: Operation::Withdrawal,
            ..job.clone()
        };
        assert_eq!(job.fingerprint(), described.fingerprint());
        assert_ne!(job.fingerprint(), withdrawn.fingerprint());
        let bytes = b"car_5tgliBmzjZ6mpQPRbQjfKj\x1ftopup\x1f5000000\x1fCOP";
        assert_eq!(job.fingerprint(), Digest::of(bytes));
    }
}
