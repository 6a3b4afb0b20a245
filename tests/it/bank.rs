//! The bank's client against a real TCP server that misbehaves to order.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tanda::bank::{BankClient, BankSettings, BankSetupError, BaseUrl, TokenSource};
use tanda::domain::job::{CardId, EntityId};
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::domain::time::Timestamp;
use tanda::domain::verdict::{Deferral, UnclearCause, Verdict};
use tanda::engine::ports::{Bank as _, Clock, ListFault};

use crate::support::scripted_bank::{Act, ScriptedBank, answer, answer_with};
use crate::support::tls_bank::{Ending, TlsBank};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const OTHER_CARD: &str = "car_0000000000000000000000";
const CANARY: &str = "canary-token-7f3a";
const BODY: &[u8] = br#"{"amount":{"amount":100,"currency":"COP"},"operation":"topup"}"#;
/// Sun, 06 Nov 1994 08:49:37 GMT.
const DATE_MILLIS: i64 = 784_111_777_000;

struct FixedClock;

impl Clock for FixedClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(DATE_MILLIS)
    }
}

/// Long enough for a busy machine; no test waits for it.
const PATIENT: Duration = Duration::from_secs(20);
/// What tests of timeouts wait for.
const BRIEF: Duration = Duration::from_secs(1);

fn settings(base_url: &str, request_timeout: Duration) -> BankSettings {
    BankSettings {
        base_url: BaseUrl::parse(base_url).expect("a base URL"),
        token: TokenSource::Fixed(SecretString::from(CANARY)),
        connect_timeout: request_timeout.mul_f32(0.8),
        request_timeout,
    }
}

fn client(settings: BankSettings) -> BankClient {
    BankClient::new(settings, Arc::new(FixedClock)).expect("a client")
}

fn patient(bank: &ScriptedBank) -> BankClient {
    client(settings(&bank.base_url(), PATIENT))
}

fn brief(bank: &ScriptedBank) -> BankClient {
    client(settings(&bank.base_url(), BRIEF))
}

fn card(text: &str) -> CardId {
    CardId::parse(text).expect("a card")
}

fn key() -> IdempotencyKey {
    let entity_id = EntityId::parse("EMP-0001").expect("an id");
    IdempotencyKey::derive(&Namespace::default(), &entity_id, Generation::FIRST)
}

async fn apply(client: &BankClient) -> Verdict {
    client.apply(&card(CARD), &key(), BODY).await
}

/// The cause of an unclear verdict; anything else fails the test.
fn cause(verdict: &Verdict) -> UnclearCause {
    let Verdict::Unclear(unclarity) = verdict else {
        panic!("not unclear: {verdict:?}");
    };
    unclarity.cause
}

fn accepted(http_status: u16) -> Verdict {
    Verdict::Accepted { http_status }
}

fn envelope(status: &str) -> Vec<u8> {
    let body = r#"{"code":"x","errors":[{"error_code":"e","message":"m","path":null,"url":null}],"id":"log_1","message":"m"}"#;
    answer(status, body)
}

/// A list page of operations with these ids.
fn page(number: u64, total: u64, ids: std::ops::Range<u64>) -> Act {
    let rows: Vec<_> = ids
        .map(|id| {
            format!(
                r#"{{"id":"cbo_{id}","card_id":"{CARD}","entity_id":"E-{id}","operation":"topup","amount":{{"amount":100,"currency":"COP"}},"description":null,"performed_at":"2026-11-24T08:00:00Z"}}"#
            )
        })
        .collect();
    let pages = total.div_ceil(500);
    let body = format!(
        r#"{{"data":[{}],"pagination":{{"page_number":{number},"page_size":500,"total_items":{total},"total_pages":{pages}}}}}"#,
        rows.join(",")
    );
    Act::Send(answer("200 OK", &body))
}

async fn list(client: &BankClient) -> Result<usize, ListFault> {
    let from = Timestamp::parse_rfc3339("2026-11-24T07:50:00Z").expect("a time");
    client.list(&card(CARD), from).await.map(|rows| rows.len())
}

// ---- a good call ------------------------------------------------------------------------------

#[tokio::test]
async fn i8_a_call_carries_key_token_and_exactly_the_bytes_given() {
    let bank = ScriptedBank::start([Act::Send(answer("201 Created", ""))]).await;
    assert_eq!(apply(&patient(&bank)).await, accepted(201));
    let [request] = &bank.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(
        request.line(),
        format!("POST /v1/cards/{CARD}/prepaid/operations")
    );
    assert_eq!(request.body, BODY);
    for (name, value) in [
        ("authorization", format!("Bearer {CANARY}")),
        ("x-idempotency-key", key().to_string()),
        ("content-type", "application/json".to_owned()),
        ("accept", "*/*".to_owned()),
        ("host", bank.address().to_string()),
    ] {
        assert_eq!(request.header(name), Some(value.as_str()), "{name}");
    }
    for name in ["accept-encoding", "referer", "cookie"] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn i12_neither_token_nor_card_shows_in_a_debug_or_a_fault() {
    let bank = ScriptedBank::start([Act::Reset, Act::Reset]).await;
    let settings = settings(&bank.base_url(), PATIENT);
    let shown = format!("{settings:?}");
    let client = client(settings);
    let verdict = apply(&client).await;
    let fault = list(&client).await.expect_err("a broken list");
    drop(bank);
    let refused = client.probe(&card(CARD)).await.expect_err("nobody there");
    let shown = format!("{shown}{client:?}{verdict:?}{fault:?}{fault}{refused:?}{refused}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains(CARD), "{shown}");
}

// ---- a broken wire ----------------------------------------------------------------------------

#[tokio::test]
async fn what_never_left_is_deferred() {
    let bank = ScriptedBank::start([]).await;
    let client = patient(&bank);
    let mut tls = settings(
        &format!("http://127.0.0.1:{}", bank.address().port()),
        PATIENT,
    );
    drop(bank);
    let deferred = Verdict::Deferred(Deferral::NoConnection);
    assert_eq!(apply(&client).await, deferred, "refused");
    let Err(ListFault::Unreachable(why)) = client.probe(&card(CARD)).await else {
        panic!("nobody is there");
    };
    assert!(why.contains("refused"), "{why}");

    // A name under `invalid` never resolves (RFC 6761), and no certificate is needed to find out.
    tls.base_url = BaseUrl::parse("https://bank.invalid").expect("a base URL");
    match BankClient::new(tls, Arc::new(FixedClock)) {
        Ok(client) => assert_eq!(apply(&client).await, deferred, "no such name"),
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}

#[tokio::test]
async fn f27_i5_no_answer_in_time_is_unclear_wherever_it_stops() {
    let whole = answer("201 Created", "{}");
    let stops = [0, 5, whole.len() / 2, whole.len() - 1];
    for stop in stops {
        let bank = ScriptedBank::start([Act::SendAndHang(whole[..stop].to_vec())]).await;
        let verdict = apply(&brief(&bank)).await;
        assert_eq!(cause(&verdict), UnclearCause::Timeout, "after {stop} bytes");
        assert_eq!(bank.requests().len(), 1);
    }
}

#[tokio::test]
async fn f27_i5_a_reset_is_unclear_whether_or_not_the_request_was_read() {
    let bank = ScriptedBank::start([Act::ResetUnread, Act::Reset]).await;
    let client = patient(&bank);
    for read in [0, 1] {
        let verdict = apply(&client).await;
        assert_eq!(cause(&verdict), UnclearCause::ConnectionBroken);
        assert_eq!(bank.requests().len(), read);
    }
}

#[tokio::test]
async fn f27_i14_an_answer_cut_at_any_byte_is_not_accepted() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for whole in [
        answer("201 Created", ""),
        answer("200 OK", r#"{"id":"cbo_1"}"#),
        answer("200 OK", "   "),
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        chunked.to_vec(),
    ] {
        let bank = ScriptedBank::start([]).await;
        let client = patient(&bank);
        for end in 0..whole.len() {
            bank.then(Act::SendAndClose(whole[..end].to_vec()));
            let cause = cause(&apply(&client).await);
            assert!(
                matches!(
                    cause,
                    UnclearCause::ConnectionBroken | UnclearCause::UnreadableAnswer
                ),
                "cut at {end}: {cause:?}"
            );
        }
        bank.then(Act::SendAndClose(whole.clone()));
        assert!(matches!(apply(&client).await, Verdict::Accepted { .. }));
        assert_eq!(bank.requests().len(), whole.len() + 1);
    }
}

#[tokio::test]
async fn a_refusal_cut_at_any_byte_is_not_a_refusal() {
    let whole = envelope("422 Unprocessable Content");
    let bank = ScriptedBank::start([]).await;
    let client = patient(&bank);
    for end in 0..whole.len() {
        bank.then(Act::SendAndClose(whole[..end].to_vec()));
        let verdict = apply(&client).await;
        assert!(matches!(verdict, Verdict::Unclear(_)), "cut at {end}");
    }
    bank.then(Act::SendAndClose(whole));
    assert!(matches!(apply(&client).await, Verdict::Refused(_)));
}

#[tokio::test]
async fn what_is_not_http_is_unclear() {
    let bank = ScriptedBank::start([
        Act::SendAndClose(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Act::SendAndClose(b"HTTP/1.1 2x1 Created\r\n\r\n".to_vec()),
        Act::SendAndClose(
            b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_vec(),
        ),
        Act::SendAndClose(
            b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".to_vec(),
        ),
    ])
    .await;
    let client = patient(&bank);
    for _ in 0..4 {
        assert!(matches!(apply(&client).await, Verdict::Unclear(_)));
    }
}

#[tokio::test]
async fn s29_i11_an_endless_answer_is_left_after_one_mebibyte() {
    let mib = 1024 * 1024;
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let bank = ScriptedBank::start([
        Act::SendAndFlood(head.to_vec()),
        Act::Send(answer("200 OK", &" ".repeat(mib))),
        Act::SendAndClose(answer("200 OK", &" ".repeat(mib + 1))),
    ])
    .await;
    let client = patient(&bank);
    let verdict = apply(&client).await;
    assert_eq!(cause(&verdict), UnclearCause::UnreadableAnswer);
    // What the kernels' buffers hold comes on top.
    assert!(bank.flooded_bytes() < 16 * mib, "{}", bank.flooded_bytes());
    assert_eq!(apply(&client).await, accepted(200));
    let verdict = apply(&client).await;
    assert_eq!(cause(&verdict), UnclearCause::UnreadableAnswer);
}

// ---- kept connections -------------------------------------------------------------------------

#[tokio::test]
async fn a_connection_the_bank_closed_is_left_aside() {
    let good = answer("201 Created", "");
    let bank =
        ScriptedBank::start([Act::SendAndClose(good.clone()), Act::SendAndClose(good)]).await;
    let client = patient(&bank);
    for _ in 0..2 {
        assert_eq!(apply(&client).await, accepted(201));
        bank.connection_is_gone().await;
    }
    assert_eq!(bank.requests().len(), 2);
}

#[tokio::test]
async fn i1_a_request_on_a_kept_connection_is_never_sent_twice() {
    for act in [
        Act::Reset,
        Act::ResetUnread,
        Act::SendAndClose(Vec::new()),
        Act::SendAndClose(b"HTTP/1.1 201".to_vec()),
    ] {
        let good = Act::Send(answer("201 Created", ""));
        let bank = ScriptedBank::start([good.clone(), act.clone(), good]).await;
        let client = patient(&bank);
        assert_eq!(apply(&client).await, accepted(201));
        let verdict = apply(&client).await;
        assert_eq!(cause(&verdict), UnclearCause::ConnectionBroken, "{act:?}");
        let read = if matches!(act, Act::ResetUnread) {
            1
        } else {
            2
        };
        assert_eq!(bank.requests().len(), read, "{act:?}");
    }
}

#[tokio::test]
async fn i14_an_answer_nobody_asked_for_is_not_the_next_calls() {
    let mut two = answer("201 Created", "");
    two.extend(answer("201 Created", ""));
    let bank = ScriptedBank::start([Act::Send(two), Act::Send(envelope("422 x"))]).await;
    let client = patient(&bank);
    assert_eq!(apply(&client).await, accepted(201));
    assert!(!matches!(apply(&client).await, Verdict::Accepted { .. }));
}

// ---- elsewhere --------------------------------------------------------------------------------

#[tokio::test]
async fn f33_i12_a_redirect_is_not_followed() {
    let elsewhere = ScriptedBank::start([]).await;
    for status in ["301 x", "302 x", "303 x", "307 x", "308 x"] {
        let location = format!("location: {}/v1\r\n", elsewhere.base_url());
        let moved = Act::Send(answer_with(status, &location, ""));
        let bank = ScriptedBank::start([moved.clone(), moved]).await;
        let client = patient(&bank);
        let verdict = apply(&client).await;
        assert_eq!(cause(&verdict), UnclearCause::UnexpectedStatus, "{status}");
        assert!(matches!(list(&client).await, Err(ListFault::NotTheBank(_))));
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

/// Runs another test of this binary in a process with another environment; returns what it wrote
/// to its standard error.
fn run_with(test: &str, environment: &[(&str, &str)]) -> String {
    let binary = std::env::current_exe().expect("this binary");
    let output = std::process::Command::new(binary)
        .args([test, "--exact", "--nocapture"])
        .envs(environment.iter().copied())
        .output()
        .expect("a process");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const NO_CERTIFICATES: [(&str, &str); 2] = [
    ("SSL_CERT_FILE", "/nonexistent/file"),
    ("SSL_CERT_DIR", "/nonexistent/folder"),
];

#[test]
fn f33_a_proxy_of_the_environment_gets_nothing() {
    // Nobody listens there, so a call that used it would fail.
    let nobody = "http://127.0.0.1:1";
    let names = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let environment: Vec<_> = names.iter().map(|name| (*name, nobody)).collect();
    run_with(
        "bank::i8_a_call_carries_key_token_and_exactly_the_bytes_given",
        &environment,
    );
}

#[test]
fn a_machine_without_certificates_can_call_its_own_simulated_bank() {
    run_with(
        "bank::i8_a_call_carries_key_token_and_exactly_the_bytes_given",
        &NO_CERTIFICATES,
    );
}

#[test]
fn https_without_certificates_says_what_to_install() {
    let said = run_with(
        "bank::https_can_be_set_up_or_says_why_not",
        &NO_CERTIFICATES,
    );
    assert!(said.contains("ca-certificates"), "{said}");
}

#[test]
fn https_can_be_set_up_or_says_why_not() {
    let settings = settings("https://bank.invalid", PATIENT);
    match BankClient::new(settings, Arc::new(FixedClock)) {
        Ok(client) => assert_eq!(client.origin(), "https://bank.invalid:443"),
        Err(error @ BankSetupError::Http(_)) => eprintln!("{error}"),
        Err(error) => panic!("{error}"),
    }
}

/// Runs the named test again in a process that trusts the authority of the tests, and nobody else;
/// true where this already is that process.
fn trusts_the_tests_authority(test: &str) -> bool {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls/ca.pem");
    #[expect(
        clippy::disallowed_methods,
        reason = "asks which of the two processes this is"
    )]
    let is_here = std::env::var_os("SSL_CERT_FILE").is_some_and(|found| found == file);
    if !is_here {
        run_with(
            test,
            &[
                ("SSL_CERT_FILE", file),
                ("SSL_CERT_DIR", "/nonexistent/folder"),
            ],
        );
    }
    is_here
}

async fn apply_over_tls(bank: TlsBank) -> Verdict {
    let client = client(settings(&bank.base_url(), PATIENT));
    apply(&client).await
}

#[tokio::test]
async fn s17_i12_only_a_valid_certificate_of_this_host_gets_a_request() {
    if !trusts_the_tests_authority(
        "bank::s17_i12_only_a_valid_certificate_of_this_host_gets_a_request",
    ) {
        return;
    }
    let good = answer("201 Created", "");
    let trusted = TlsBank::start("good", good.clone(), Ending::CloseNotify);
    assert_eq!(apply_over_tls(trusted).await, accepted(201));
    for (certificate, says) in [("wrong_host", "not valid for name"), ("expired", "expired")] {
        let bank = TlsBank::start(certificate, good.clone(), Ending::CloseNotify);
        let client = client(settings(&bank.base_url(), PATIENT));
        let Err(ListFault::Unreachable(why)) = client.probe(&card(CARD)).await else {
            panic!("{certificate} was trusted");
        };
        assert!(why.contains(says), "{certificate}: {why}");
        let bank = TlsBank::start(certificate, good.clone(), Ending::CloseNotify);
        let deferred = Verdict::Deferred(Deferral::NoConnection);
        assert_eq!(apply_over_tls(bank).await, deferred, "{certificate}");
    }
    let plain = ScriptedBank::start([]).await;
    let base_url = plain.base_url().replace("http://", "https://");
    let client = client(settings(&base_url, BRIEF));
    let deferred = Verdict::Deferred(Deferral::NoConnection);
    assert_eq!(apply(&client).await, deferred, "no TLS at all");
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn i14_over_tls_a_body_without_length_must_be_ended_by_its_sender() {
    if !trusts_the_tests_authority(
        "bank::i14_over_tls_a_body_without_length_must_be_ended_by_its_sender",
    ) {
        return;
    }
    let head = b"HTTP/1.1 201 Created\r\nconnection: close\r\n\r\n".to_vec();
    let ended = TlsBank::start("good", head.clone(), Ending::CloseNotify);
    assert_eq!(apply_over_tls(ended).await, accepted(201));
    let cut = TlsBank::start("good", head, Ending::Cut);
    let verdict = apply_over_tls(cut).await;
    assert_eq!(cause(&verdict), UnclearCause::UnreadableAnswer);
}

#[test]
fn timeouts_that_contradict_each_other_are_refused() {
    for (connect, request) in [(0, 10), (10, 10), (11, 10), (0, 0)] {
        let mut settings = settings("http://127.0.0.1", PATIENT);
        settings.connect_timeout = Duration::from_secs(connect);
        settings.request_timeout = Duration::from_secs(request);
        let refused = BankClient::new(settings, Arc::new(FixedClock));
        assert!(matches!(refused, Err(BankSetupError::Timeouts)));
    }
}

// ---- the credential ---------------------------------------------------------------------------

#[tokio::test]
async fn i9_a_new_token_in_the_file_is_used_after_a_401() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    // Of one length and one time, so that only the 401 is a reason to look again.
    let put = |token: &str| {
        std::fs::write(&path, token).expect("written");
        let file = std::fs::File::options().write(true).open(&path);
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, own).expect("ours");
        let dated = file.and_then(|file| file.set_modified(std::time::UNIX_EPOCH));
        dated.expect("dated");
    };
    put("old\n");
    let bank = ScriptedBank::start([
        Act::Send(envelope("401 Unauthorized")),
        Act::Send(answer("201 Created", "")),
    ])
    .await;
    let mut settings = settings(&bank.base_url(), PATIENT);
    settings.token = TokenSource::File(path.clone());
    let client = client(settings);
    let refused = Deferral::CredentialRefused {
        log_id: Some("log_1".to_owned()),
    };
    assert_eq!(apply(&client).await, Verdict::Deferred(refused));
    put("new\n");
    assert_eq!(apply(&client).await, accepted(201));
    let sent: Vec<_> = bank
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(sent, ["Bearer old", "Bearer new"]);
}

#[tokio::test]
async fn i9_a_403_refuses_a_job_only_once_the_token_is_proven_on_another_card() {
    let forbidden = Act::Send(envelope("403 Forbidden"));
    for proof in [
        answer("201 Created", ""),
        envelope("404 Not Found"),
        envelope("422 Unprocessable Content"),
    ] {
        let proof = Act::Send(proof);
        let script = [&forbidden, &proof, &forbidden, &proof, &forbidden];
        let bank = ScriptedBank::start(script.into_iter().cloned()).await;
        let client = patient(&bank);
        let unproven = Deferral::NotAuthorized {
            log_id: Some("log_1".to_owned()),
        };
        let unproven = Verdict::Deferred(unproven);
        assert_eq!(apply(&client).await, unproven, "at first");
        apply(&client).await;
        assert_eq!(apply(&client).await, unproven, "proven on this very card");
        client.apply(&card(OTHER_CARD), &key(), BODY).await;
        assert!(matches!(apply(&client).await, Verdict::Refused(_)));
    }
}

#[tokio::test]
async fn a_400_proves_no_token() {
    let script = [envelope("400 Bad Request"), envelope("403 Forbidden")];
    let bank = ScriptedBank::start(script.map(Act::Send)).await;
    let client = patient(&bank);
    client.apply(&card(OTHER_CARD), &key(), BODY).await;
    assert!(matches!(apply(&client).await, Verdict::Deferred(_)));
}

// ---- time -------------------------------------------------------------------------------------

#[tokio::test]
async fn the_bank_s_time_is_its_last_date_and_not_a_stranger_s() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let later = "date: Tue, 24 Nov 2026 08:49:37 GMT\r\n";
    let mut portal =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1\r\n".to_vec();
    portal.extend(format!("{later}\r\n<").bytes());
    let bank = ScriptedBank::start([
        Act::Send(portal),
        Act::Send(answer_with("201 Created", date, "")),
        Act::Send(answer_with("502 Bad Gateway", later, "")),
    ])
    .await;
    let client = patient(&bank);
    assert_eq!(client.time(), None);
    apply(&client).await;
    assert_eq!(client.time(), None);
    apply(&client).await;
    apply(&client).await;
    let time = client.time().expect("the bank was heard");
    let date = Timestamp::from_millis(DATE_MILLIS);
    assert!(time >= date && time.since(date) < PATIENT, "{time}");
}

#[tokio::test]
async fn a_retry_after_date_counts_from_the_answer_s_own_date_or_our_clock() {
    let wait = "retry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
    let dated = format!("date: Sun, 06 Nov 1994 08:50:07 GMT\r\n{wait}");
    let bank = ScriptedBank::start([
        Act::Send(answer_with("429 Too Many Requests", wait, "")),
        Act::Send(answer_with("429 Too Many Requests", &dated, "")),
    ])
    .await;
    let client = patient(&bank);
    for seconds in [60, 30] {
        let limited = Deferral::RateLimited {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(apply(&client).await, Verdict::Deferred(limited));
    }
}

// ---- the list ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_list_is_read_to_its_last_page_and_its_first_page_twice() {
    let bank = ScriptedBank::start([
        page(1, 501, 0..500),
        page(2, 501, 500..501),
        page(1, 501, 0..500),
    ])
    .await;
    assert_eq!(list(&patient(&bank)).await, Ok(501));
    let lines: Vec<_> = bank
        .requests()
        .iter()
        .map(|request| request.line().to_owned())
        .collect();
    let line = |number| {
        format!(
            "GET /v1/cards/{CARD}/prepaid/operations?page_number={number}&page_size=500&performed_at%5Bfrom%5D=2026-11-24T07%3A50%3A00.000Z"
        )
    };
    assert_eq!(lines, [line(1), line(2), line(1)]);
}

#[tokio::test]
async fn i1_a_list_that_moves_is_read_again_and_at_last_not_believed() {
    let bank = ScriptedBank::start([
        // A row came in while the second page was read: one row shows twice.
        page(1, 501, 0..500),
        page(2, 502, 499..501),
        // It came in after the last page.
        page(1, 1, 0..1),
        page(1, 2, 0..2),
        // At rest.
        page(1, 2, 0..2),
        page(1, 2, 0..2),
    ])
    .await;
    let client = patient(&bank);
    assert_eq!(list(&client).await, Ok(2));

    for _ in 0..3 {
        bank.then(page(1, 1, 0..1));
        bank.then(page(1, 1, 1..2));
    }
    assert_eq!(list(&client).await, Err(ListFault::Shifting));
    assert_eq!(bank.requests().len(), 12);
}

#[tokio::test]
async fn i5_an_unknown_card_is_no_empty_list() {
    let unknown = Act::Send(envelope("404 Not Found"));
    let bank = ScriptedBank::start([unknown.clone()]).await;
    let client = patient(&bank);
    assert_eq!(list(&client).await, Err(ListFault::UnknownCard));
    for _ in 0..3 {
        bank.then(page(1, 1, 0..1));
        bank.then(unknown.clone());
    }
    assert_eq!(list(&client).await, Err(ListFault::Shifting));
}

#[tokio::test]
async fn a_list_in_which_a_page_fails_tells_nothing() {
    let bank = ScriptedBank::start([
        page(1, 501, 0..500),
        Act::Send(answer("503 Service Unavailable", "")),
        page(1, 50_000, 0..500),
        Act::SendAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"data\":".to_vec()),
    ])
    .await;
    let client = patient(&bank);
    let unreachable = ListFault::Unreachable("status 503".to_owned());
    assert_eq!(list(&client).await, Err(unreachable));
    assert_eq!(list(&client).await, Err(ListFault::TooLong(50)));
    assert!(matches!(
        list(&client).await,
        Err(ListFault::Unreachable(_))
    ));
}

#[tokio::test]
async fn a_probe_takes_the_banks_own_word_on_a_card_and_nothing_else() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let bank = ScriptedBank::start([
        page(1, 0, 0..0),
        Act::Send(envelope("404 Not Found")),
        Act::Send(envelope("422 Unprocessable Content")),
        Act::Send(html.as_bytes().to_vec()),
        Act::Send(answer("200 OK", "[]")),
        Act::Send(answer("404 Not Found", "{}")),
        Act::Send(envelope("401 Unauthorized")),
        Act::Send(envelope("403 Forbidden")),
        Act::Send(answer_with("429 x", "retry-after: 5\r\n", "")),
        Act::Send(answer("500 x", "")),
    ])
    .await;
    let client = patient(&bank);
    let card = card(CARD);
    for _ in 0..3 {
        assert_eq!(client.probe(&card).await, Ok(()));
    }
    for _ in 0..3 {
        assert!(matches!(
            client.probe(&card).await,
            Err(ListFault::NotTheBank(_))
        ));
    }
    for expected in [
        ListFault::CredentialRefused,
        ListFault::NotAuthorized,
        ListFault::RateLimited {
            retry_after: Some(Duration::from_secs(5)),
        },
        ListFault::Unreachable("status 500".to_owned()),
    ] {
        assert_eq!(client.probe(&card).await, Err(expected));
    }
    let first = bank.requests()[0].line().to_owned();
    assert!(first.ends_with("?page_number=1&page_size=10"), "{first}");
}
