//! The bank's ways to say no, each in the envelope of its page.
//!
//! *What it promises.* Texts as the page shows them where it does; the words for funds, frozen and
//! cancelled cards are guesses (no catalogue is published), so a client must take them as data.
//!
//! *What it refuses to know.* When to say no.

use crate::domain::digest::Digest;
use crate::wire::bank::{Envelope, EnvelopeError};

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    error_code: &'static str,
    error_message: &'static str,
    path: Option<String>,
    message: &'static str,
}

impl Refusal {
    /// 400: what came is not what the page asks for at all.
    pub(super) const MALFORMED: Self = Self::new(
        400,
        "validation_error",
        "Generic changeset errors",
        "Malformed request",
    );
    /// 413: more bytes than any operation needs.
    pub(super) const TOO_LARGE: Self = Self::new(
        413,
        "validation_error",
        "The request body is too large.",
        "Malformed request",
    );
    /// 401: no bearer token.
    pub(super) const NO_TOKEN: Self = Self::new(
        401,
        "missing_authorization_header",
        "The authorization header is missing.",
        "Authorization header is missing or invalid.",
    );
    /// 401: a token that is not, or no longer, good.
    pub(super) const BAD_TOKEN: Self = Self::new(
        401,
        "expired_token",
        "The token is expired, inactive, or doesn't exist.",
        "Authorization header is missing or invalid.",
    );
    /// 403.
    pub(super) const NOT_AUTHORIZED: Self = Self::new(
        403,
        "not_authorized",
        "Not authorized to have access to this resource.",
        "Not authorized to have access to this resource",
    );
    /// 404.
    pub(super) const NOT_FOUND: Self = Self::new(
        404,
        "item_not_found",
        "The item doesn't exist",
        "Resource not defined",
    );
    /// 409: the key was used for another body.
    pub(super) const KEY_COLLISION: Self = Self::new(
        409,
        "idempotency_key_collision",
        "The idempotency key was used with another request.",
        "Key collision or state conflict",
    );
    /// 409: the card is in a state that does not allow it now.
    pub(super) const STATE_CONFLICT: Self = Self::new(
        409,
        "state_conflict",
        "The resource is in a state that conflicts with the request.",
        "Key collision or state conflict",
    );
    /// 422: the card is frozen.
    pub(super) const CARD_FROZEN: Self = Self::new(
        422,
        "card_frozen",
        "The card is frozen.",
        "Validation errors",
    );
    /// 422: the card is cancelled.
    pub(super) const CARD_CANCELLED: Self = Self::new(
        422,
        "card_cancelled",
        "The card is cancelled.",
        "Validation errors",
    );
    /// 422: neither the card nor the funding account can pay for it.
    pub(super) const INSUFFICIENT_FUNDS: Self = Self::new(
        422,
        "insufficient_funds",
        "There are not enough funds for the operation.",
        "Validation errors",
    );
    /// 422: a refusal that is a fault, not a rule.
    pub(super) const LIMIT_EXCEEDED: Self = Self::new(
        422,
        "daily_amount_limit_exceeded",
        "The daily amount limit is exceeded.",
        "Validation errors",
    );
    /// 429.
    pub(super) const RATE_LIMITED: Self = Self::new(
        429,
        "too_many_requests",
        "Too many requests.",
        "Rate limit exceeded",
    );
    /// 500.
    pub(super) const INTERNAL: Self = Self::new(
        500,
        "internal_error",
        "An internal error occurred.",
        "Internal error",
    );
    /// 503.
    pub(super) const UNAVAILABLE: Self = Self::new(
        503,
        "service_is_unavailable",
        "The service is unavailable.",
        "Service unavailable",
    );

    const fn new(
        status: u16,
        error_code: &'static str,
        error_message: &'static str,
        message: &'static str,
    ) -> Self {
        Self {
            status,
            error_code,
            error_message,
            path: None,
            message,
        }
    }

    /// 422: a field that must be there is not.
    pub(super) fn missing(path: &str) -> Self {
        let error_message = "The field is missing on the request body or parameters.";
        Self {
            path: Some(path.to_owned()),
            ..Self::new(422, "missing_field", error_message, "Validation errors")
        }
    }

    /// 422: a field that is not known, or whose value is not allowed.
    pub(super) fn invalid(path: impl Into<String>, error_message: &'static str) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::new(422, "validation_error", error_message, "Validation errors")
        }
    }

    /// The envelope, with a `log_…` id that belongs to the `serial`th refusal under this seed.
    pub(super) fn body(&self, seed: u64, serial: u64) -> Vec<u8> {
        let envelope = Envelope {
            code: status_line(self.status).to_owned(),
            errors: vec![EnvelopeError {
                error_code: self.error_code.to_owned(),
                message: Some(self.error_message.to_owned()),
                path: self.path.clone(),
                url: None,
            }],
            id: id_of("log_", seed, serial),
            message: self.message.to_owned(),
        };
        serde_json::to_vec(&envelope).expect("strings always serialise")
    }
}

fn status_line(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        409 => "409 Conflict",
        413 => "413 Content Too Large",
        422 => "422 Unprocessable Content",
        429 => "429 Too Many Requests",
        503 => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}

/// Digits in base 62, as the bank's page calls the form of its ids.
const BASE_62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters after the prefix of an id: what 128 bits need in base 62.
const ID_CHARS: usize = 22;

/// The `serial`th id with this prefix under this seed: the prefix and 22 characters, the same in
/// every run.
pub(super) fn id_of(prefix: &str, seed: u64, serial: u64) -> String {
    let fields = [
        "tanda.simulator.id.v1",
        prefix,
        &seed.to_string(),
        &serial.to_string(),
    ];
    let mut number = u128::from_be_bytes(Digest::of_fields(&fields).first_16());
    let mut id = String::with_capacity(prefix.len() + ID_CHARS);
    id.push_str(prefix);
    for _ in 0..ID_CHARS {
        let digit = usize::try_from(number % 62)
            .ok()
            .and_then(|digit| BASE_62.get(digit).copied())
            .expect("a remainder of 62 is an index of 62 digits");
        id.push(char::from(digit));
        number /= 62;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_that_of_the_page() {
        let body = Refusal::missing("#/path/to/field").body(1, 1);
        let text = String::from_utf8(body).expect("UTF-8");
        let (head, tail) = text.split_once("log_").expect("a log id");
        assert_eq!(
            head,
            r##"{"code":"422 Unprocessable Content","errors":[{"error_code":"missing_field","message":"The field is missing on the request body or parameters.","path":"#/path/to/field","url":null}],"id":""##
        );
        assert_eq!(
            tail.get(ID_CHARS..),
            Some(r#"","message":"Validation errors"}"#)
        );
    }

    #[test]
    fn ids_are_as_long_as_the_banks_and_the_same_in_every_run() {
        let id = id_of("cbo_", 7, 1);
        assert_eq!(id.len(), 26);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert_eq!(id, id_of("cbo_", 7, 1));
        assert_ne!(id, id_of("cbo_", 7, 2));
        assert_ne!(id, id_of("cbo_", 8, 1));
    }
}
