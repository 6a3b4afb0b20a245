//! The books, rule by rule.

use super::*;

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const NO_LAG: Duration = Duration::ZERO;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn books() -> Books {
    Books::new(1, 1_000, None)
}

fn body(operation: &str, minor: i64, entity_id: &str) -> Vec<u8> {
    format!(
        r#"{{"amount":{{"amount":{minor},"currency":"COP"}},"entity_id":"{entity_id}","operation":"{operation}"}}"#
    )
    .into_bytes()
}

fn refusal_code(refusal: &Refusal) -> String {
    let body = refusal.body(0, 0);
    let envelope: crate::wire::bank::Envelope = serde_json::from_slice(&body).expect("envelope");
    let error = envelope.errors.into_iter().next().expect("an error");
    let path = error.path.unwrap_or_default();
    format!("{} {} {path}", refusal.status, error.error_code)
}

fn refused(books: &mut Books, card: &str, body: &[u8]) -> String {
    let refusal = books.perform(card, body, at(0)).expect_err("a refusal");
    refusal_code(&refusal)
}

fn query(text: &str) -> ListQuery {
    ListQuery::parse(text).expect("a query")
}

fn entities(page: &ListPage) -> Vec<&str> {
    let names = page.data.iter().map(|row| row.entity_id.as_deref());
    names.map(Option::unwrap_or_default).collect()
}

#[test]
fn a_card_comes_into_being_with_its_opening_balance() {
    let mut books = books();
    assert_eq!(books.balance(CARD).expect("a balance").amount, 1_000);
    books
        .perform(CARD, &body("topup", 50, "A"), at(0))
        .expect("performed");
    books
        .perform(CARD, &body("withdrawal", 250, "B"), at(0))
        .expect("performed");
    let balance = books.balance(CARD).expect("a balance");
    assert_eq!((balance.amount, balance.currency.as_str()), (800, "COP"));
    let other = books.balance("car_0000000000000000000000");
    assert_eq!(other.expect("a balance").amount, 1_000);
}

#[test]
fn an_entity_id_protects_nothing() {
    let mut books = books();
    for _ in 0..2 {
        books
            .perform(CARD, &body("topup", 50, "A"), at(0))
            .expect("performed");
    }
    let mut report = Report::default();
    books.tell(&mut report);
    assert_eq!(report.movements("A"), 2);
    assert_eq!(books.balance(CARD).expect("a balance").amount, 1_100);
}

#[test]
fn what_is_not_there_cannot_be_moved() {
    let mut books = Books::new(1, 1_000, Some(100));
    let code = "422 insufficient_funds ";
    assert_eq!(
        refused(&mut books, CARD, &body("withdrawal", 1_001, "A")),
        code
    );
    assert_eq!(refused(&mut books, CARD, &body("topup", 101, "A")), code);
    books
        .perform(CARD, &body("topup", 100, "A"), at(0))
        .expect("performed");
    assert_eq!(refused(&mut books, CARD, &body("topup", 1, "B")), code);
    // A withdrawal fills the funding account again.
    books
        .perform(CARD, &body("withdrawal", 1_100, "C"), at(0))
        .expect("performed");
    books
        .perform(CARD, &body("topup", 1_100, "D"), at(0))
        .expect("performed");
    let mut report = Report::default();
    books.tell(&mut report);
    assert_eq!((report.funds_minor, report.entities.len()), (Some(0), 3));
}

#[test]
fn a_balance_cannot_overflow() {
    let mut books = Books::new(1, i64::MAX - 1, None);
    books
        .perform(CARD, &body("topup", 1, "A"), at(0))
        .expect("performed");
    let code = refused(&mut books, CARD, &body("topup", 1, "B"));
    assert_eq!(code, "422 validation_error #/amount/amount");
}

#[test]
fn a_marked_card_is_in_the_condition_that_it_says() {
    for (card, code, readable) in [
        ("car_000000000000000Unknown", "404 item_not_found ", false),
        ("car_0000000000000Forbidden", "403 not_authorized ", true),
        ("car_0000000000000000Frozen", "422 card_frozen ", true),
        ("car_0000000000000Cancelled", "422 card_cancelled ", true),
    ] {
        let mut books = books();
        assert_eq!(refused(&mut books, card, &body("topup", 1, "A")), code);
        assert_eq!(books.balance(card).is_ok(), readable, "{card}");
        let list = books.list(card, query(""), at(0), NO_LAG);
        assert_eq!(list.is_ok(), readable, "{card}");
    }
    let malformed = refused(&mut books(), "car_short", &body("topup", 1, "A"));
    assert_eq!(malformed, "422 validation_error #/card_id");
}

#[test]
fn a_body_that_is_not_of_the_page_is_refused() {
    let good = r#"{"amount":{"amount":5,"currency":"COP"},"operation":"topup"}"#;
    for (from, to, code) in [
        ("{", "", "400 validation_error "),
        (good, "[]", "400 validation_error "),
        (
            r#"{"amount":5,"currency":"COP"}"#,
            "5",
            "400 validation_error ",
        ),
        (
            r#""amount":{"amount":5,"currency":"COP"},"#,
            "",
            "422 missing_field #/amount",
        ),
        (r#""amount":5,"#, "", "422 missing_field #/amount/amount"),
        (
            r#","currency":"COP""#,
            "",
            "422 missing_field #/amount/currency",
        ),
        (
            r#","operation":"topup""#,
            "",
            "422 missing_field #/operation",
        ),
        (r#"topup""#, r#"topup","x":1"#, "422 validation_error #/x"),
        (
            r#""COP""#,
            r#""COP","x":1"#,
            "422 validation_error #/amount/x",
        ),
        (":5,", ":0,", "422 validation_error #/amount/amount"),
        (":5,", ":-5,", "422 validation_error #/amount/amount"),
        (":5,", ":5.0,", "422 validation_error #"),
        (":5,", ":5e2,", "422 validation_error #"),
        (":5,", ":\"5\",", "422 validation_error #"),
        (
            ":5,",
            ":9007199254740992,",
            "422 validation_error #/amount/amount",
        ),
        (":5,", ":9223372036854775808,", "422 validation_error #"),
        ("COP", "USD", "422 validation_error #/amount/currency"),
        ("COP", "cop", "422 validation_error #/amount/currency"),
        ("topup", "TOPUP", "422 validation_error #/operation"),
        ("topup", "refund", "422 validation_error #/operation"),
        (r#""topup""#, "1", "422 validation_error #"),
        (
            r#"topup""#,
            r#"topup","entity_id":1"#,
            "422 validation_error #",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert_eq!(refused(&mut books(), CARD, bad.as_bytes()), code, "{bad}");
    }
    let nulls = good.replacen(r#"topup""#, r#"topup","description":null"#, 1);
    for fine in [good, &nulls] {
        books().perform(CARD, fine.as_bytes(), at(0)).expect(fine);
    }
}

#[test]
fn a_list_has_pages_newest_first() {
    let mut books = books();
    for n in 0..25 {
        let body = body("topup", 1, &format!("E{n}"));
        books.perform(CARD, &body, at(n)).expect("performed");
    }
    let page = |text: &str| {
        books
            .list(CARD, query(text), at(100), NO_LAG)
            .expect("a page")
    };
    let first = page("");
    assert_eq!(entities(&first)[..2], ["E24", "E23"]);
    assert_eq!(
        first.pagination,
        Pagination {
            page_number: 1,
            page_size: 10,
            total_items: 25,
            total_pages: 3
        }
    );
    assert_eq!(
        entities(&page("page_number=3")),
        ["E4", "E3", "E2", "E1", "E0"]
    );
    assert!(page("page_number=4").data.is_empty());
    assert!(
        page("page_number=18446744073709551615&page_size=500")
            .data
            .is_empty()
    );
    let row = page("page_size=500")
        .data
        .into_iter()
        .next()
        .expect("a row");
    assert_eq!(row.id.expect("an id").len(), "cbo_".len() + 22);
    assert_eq!(row.card_id.as_deref(), Some(CARD));
    assert_eq!(
        row.performed_at.as_deref(),
        Some("1970-01-01T00:00:24.000Z")
    );
}

#[test]
fn a_list_filters_by_time_from_inclusive_until_exclusive() {
    let mut books = books();
    for n in 0..4 {
        let body = body("topup", 1, &format!("E{n}"));
        books.perform(CARD, &body, at(n)).expect("performed");
    }
    for text in [
        "performed_at[from]=1970-01-01T00:00:01Z&performed_at[until]=1970-01-01T00:00:03Z",
        "performed_at%5Bfrom%5D=1970-01-01T00%3A00%3A01.000Z&performed_at%5buntil%5d=1970-01-01T01%3A00%3A03%2B01%3A00",
    ] {
        let page = books
            .list(CARD, query(text), at(9), NO_LAG)
            .expect("a page");
        assert_eq!(entities(&page), ["E2", "E1"], "{text}");
        assert_eq!(page.pagination.total_items, 2);
    }
}

#[test]
fn a_query_that_cannot_be_meant_is_refused() {
    for text in [
        "page_number=0",
        "page_number=-1",
        "page_number=x",
        "page_size=9",
        "page_size=501",
        "performed_at[from]=yesterday",
        "performed_at[from]=1970-01-01T01:00:00+01:00",
        "performed_at.from=1970-01-01T00:00:00Z",
        "entity_id=A",
        "page_number=%",
        "page_number=%zz",
        "page_number=%ff",
    ] {
        assert!(ListQuery::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_list_lags_behind_the_books() {
    let mut books = books();
    books
        .perform(CARD, &body("topup", 1, "A"), at(10))
        .expect("performed");
    let lag = Duration::from_secs(5);
    let total = |now| {
        let page = books.list(CARD, query(""), at(now), lag).expect("a page");
        page.pagination.total_items
    };
    assert_eq!((total(10), total(14), total(15)), (0, 0, 1));
    assert_eq!(books.balance(CARD).expect("a balance").amount, 1_001);
}

#[test]
fn a_foreign_operation_is_listed_and_in_no_total() {
    let mut books = books();
    books
        .perform(CARD, &body("topup", 5, "A"), at(0))
        .expect("performed");
    books.perform_foreign(CARD, at(1));
    let page = books.list(CARD, query(""), at(2), NO_LAG).expect("a page");
    assert_eq!(entities(&page), ["foreign-2", "A"]);
    assert_eq!(books.balance(CARD).expect("a balance").amount, 1_006);
    let mut report = Report::default();
    books.tell(&mut report);
    assert_eq!((report.foreign, report.entities.len()), (1, 1));
    assert_eq!(report.totals.first().map(|total| total.minor), Some(5));
}
