//! Where the bank is.
//!
//! *What it promises.* A [`BaseUrl`] is `https`, or `http` to this very machine; it has no user, no
//! query and no fragment; and a card id can only ever be one path segment of what is built on it.
//!
//! *What it refuses to know.* What is sent there.

use std::net::IpAddr;

use reqwest::Url;

use super::BankSetupError;
use crate::domain::job::CardId;

/// The bank's own test host (its documentation).
const TEST_HOST: &str = "api.sandbox.cuentamono.com";
/// Where real money moves (its documentation).
const PRODUCTION_HOST: &str = "api.cuentamono.com";

/// Which of the bank's places an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BankPlace {
    /// The bank's own test host.
    TestHost,
    /// The bank's production host.
    Production,
    /// This very machine: a simulated bank, or a gateway to some other.
    ThisMachine,
    /// Any other host.
    Other,
}

/// The bank's address, such as `https://api.sandbox.cuentamono.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Reads a base URL. A path is allowed (a gateway's prefix).
    ///
    /// # Errors
    /// [`BankSetupError::BaseUrl`] with the rule that was broken and what to do.
    pub fn parse(text: &str) -> Result<Self, BankSetupError> {
        let fault = BankSetupError::BaseUrl;
        let Ok(url) = Url::parse(text.trim()) else {
            return Err(fault(
                "is not a URL; it should look like https://api.sandbox.cuentamono.com",
            ));
        };
        let Some(host) = url.host_str() else {
            return Err(fault(
                "names no host; it should look like https://api.sandbox.cuentamono.com",
            ));
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("must begin with https://"));
        }
        if url.scheme() == "http" && !is_loopback(host) {
            return Err(fault(
                "must begin with https://; plain http is only for this machine \
                 (127.0.0.1, [::1] or localhost)",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault(
                "holds a user or a password; remove them, the token has a setting of its own",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault("has a ? or a # part; remove it"));
        }
        Ok(Self(url))
    }

    /// `scheme://host:port`, the port always written: what a ledger is bound to.
    #[must_use]
    pub fn origin(&self) -> String {
        let host = self.0.host_str().expect("parse requires a host");
        let port = self
            .0
            .port_or_known_default()
            .expect("http and https have a known port");
        format!("{}://{host}:{port}", self.0.scheme())
    }

    /// Which of the bank's places this is, by its name.
    #[must_use]
    pub fn place(&self) -> BankPlace {
        match self.0.host_str() {
            Some(TEST_HOST) => BankPlace::TestHost,
            Some(PRODUCTION_HOST) => BankPlace::Production,
            Some(host) if is_loopback(host) => BankPlace::ThisMachine,
            Some(_) | None => BankPlace::Other,
        }
    }

    /// Whether what goes there is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// `…/v1/cards/{card_id}/prepaid/operations`.
    #[must_use]
    pub fn operations(&self, card_id: &CardId) -> Url {
        let mut url = self.0.clone();
        url.path_segments_mut()
            .expect("a URL with a host has path segments")
            .pop_if_empty()
            .extend(["v1", "cards", card_id.as_str(), "prepaid", "operations"]);
        url
    }
}

/// Whether this host is this machine, whatever name service says.
fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    host == "localhost"
        || bare
            .unwrap_or(host)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_only_https_or_this_machine_is_a_base_url() {
        for (text, origin) in [
            (
                "https://api.sandbox.cuentamono.com",
                "https://api.sandbox.cuentamono.com:443",
            ),
            ("HTTPS://API.example:8443/mono/", "https://api.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.9.9.9", "http://127.9.9.9:80"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("http://localhost:3000/", "http://localhost:3000"),
            (" https://a.example\n", "https://a.example:443"),
        ] {
            let base = BaseUrl::parse(text).expect(text);
            assert_eq!(base.origin(), origin, "{text}");
        }
        for (text, says) in [
            ("", "not a URL"),
            ("api.cuentamono.com", "not a URL"),
            ("file:///etc/passwd", "no host"),
            ("ftp://127.0.0.1/", "https://"),
            ("http://api.cuentamono.com", "only for this machine"),
            ("http://169.254.169.254/", "only for this machine"),
            ("http://[::ffff:127.0.0.1]/", "only for this machine"),
            ("http://localhost.example/", "only for this machine"),
            ("http://0.0.0.0/", "only for this machine"),
            ("https://user@api.example/", "user"),
            ("https://:pw@api.example/", "password"),
            ("https://api.example/?x=1", "? or a #"),
            ("https://api.example/#x", "? or a #"),
        ] {
            let fault = BaseUrl::parse(text).expect_err(text).to_string();
            assert!(fault.contains(says), "{text}: {fault}");
            assert!(!fault.contains("pw"), "{fault}");
        }
    }

    #[test]
    fn an_address_says_which_of_the_banks_places_it_is() {
        for (text, place) in [
            ("https://api.sandbox.cuentamono.com", BankPlace::TestHost),
            ("https://API.cuentamono.com/", BankPlace::Production),
            ("https://api.cuentamono.com.example", BankPlace::Other),
            ("http://[::1]:1", BankPlace::ThisMachine),
        ] {
            let base = BaseUrl::parse(text).expect(text);
            assert_eq!(base.place(), place, "{text}");
        }
    }

    #[test]
    fn s5_a_card_id_is_one_segment_under_any_prefix() {
        let card = CardId::parse("car_5tgliBmzjZ6mpQPRbQjfKj").expect("a card");
        for base in [
            "https://a.example",
            "https://a.example/",
            "https://a.example/mono",
            "https://a.example/mono/",
        ] {
            let url = BaseUrl::parse(base).expect("a base").operations(&card);
            let prefix = if base.contains("mono") { "/mono" } else { "" };
            assert_eq!(
                url.path(),
                format!("{prefix}/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/operations")
            );
        }
    }
}
