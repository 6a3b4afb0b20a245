//! The bank's address, [`tanda::bank::BaseUrl`].
//!
//! What is accepted leads to the host that it names and to no other, encrypted or on this machine,
//! without a user or a query; its origin read again is the same; and a card is one segment of its path.

use std::net::IpAddr;

use tanda::bank::{BankPlace, BaseUrl};
use tanda::domain::job::CardId;

use super::Target;
use super::telling::assert_tells;

pub(super) const TARGET: Target = Target {
    name: "base_url",
    body,
    cases: 12_000,
    words: &[
        "https://",
        "http://",
        "file://",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "api.cuentamono.com",
        "api.sandbox.cuentamono.com",
        "@",
        ":",
        "/",
        "//",
        "..",
        "%2e%2e",
        "%2f",
        "%00",
        "?",
        "#",
        ":443",
        ":65536",
        ":0",
        "user:pw@",
        "\\",
        "0x7f.1",
        "2130706433",
        "xn--",
        "\u{3002}",
        "\u{ff0f}",
        ";",
    ],
};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const OPERATIONS: &str = "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/operations";

fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let parsed = match BaseUrl::parse(text) {
        Ok(parsed) => parsed,
        Err(fault) => return assert_tells(&fault.to_string(), 256),
    };
    let origin = parsed.origin();
    let (scheme, place) = origin.split_once("://").expect("scheme and place");
    let (host, port) = place.rsplit_once(':').expect("host and port");
    port.parse::<u16>().expect("a port");
    assert!(!host.is_empty() && host.is_ascii(), "{host:?}");
    assert!(
        !host.contains(['@', '/', '\\', '?', '#', '%', ' ']),
        "{host:?}"
    );
    let bare = host.trim_matches(['[', ']']);
    let is_here = host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    assert!(scheme == "https" || scheme == "http" && is_here, "{origin}");
    let expected = match host {
        "api.sandbox.cuentamono.com" => BankPlace::TestHost,
        "api.cuentamono.com" => BankPlace::Production,
        _ if is_here => BankPlace::ThisMachine,
        _ => BankPlace::Other,
    };
    assert_eq!(parsed.place(), expected);
    let again = BaseUrl::parse(&origin).expect("an origin is a base URL");
    assert_eq!(again.origin(), origin);

    let card = CardId::parse(CARD).expect("a card");
    let url = parsed.operations(&card);
    assert!(url.path().ends_with(OPERATIONS), "{url}");
    assert_eq!((url.query(), url.fragment()), (None, None));
    assert_eq!((url.username(), url.password()), ("", None));
    assert_eq!(url.host_str(), Some(host));
    assert_eq!(
        url.port_or_known_default()
            .map(|port| port.to_string())
            .as_deref(),
        Some(port)
    );
}
