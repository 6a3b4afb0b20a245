//! The bank's list of operations, page by page, [`tanda::bank::listing`].
//!
//! The bytes are answers, apart by a record separator (0x1E), each with a status of a table first. Rows
//! are handed out only where every page was full, in its place and of one list, the first one twice; and
//! each row says what its JSON says.

use std::collections::BTreeSet;

use tanda::bank::classify::{Answer, Body, CameBack};
use tanda::bank::listing::{LIST_PAGES_MAX, Misfit, Walk, read};
use tanda::domain::job::CardId;
use tanda::domain::listing::ListedOperation;
use tanda::engine::ports::ListFault;
use tanda::wire::bank::ListPage;

use super::Target;
use super::json::Json;
use super::telling::assert_tells;

pub(super) const TARGET: Target = Target {
    name: "list_pages",
    body,
    cases: 8_000,
    words: &[
        "\u{1e}\0",
        "\"data\":",
        "\"operations\":",
        "\"items\":",
        "\"pagination\":",
        "\"page_number\":",
        "\"page_size\":",
        "\"total_items\":",
        "\"total_pages\":",
        "\"id\":",
        "\"entity_id\":",
        "\"card_id\":",
        "\"operation\":\"topup\"",
        "\"amount\":",
        "\"currency\":",
        "null",
        "[",
        "]",
        "{",
        "}",
        "1",
        "2",
        "0",
        "18446744073709551615",
    ],
};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const STATUSES: [u16; 12] = [200, 201, 204, 302, 400, 401, 403, 404, 408, 429, 500, 999];
/// More than the walk ever asks for.
const ANSWERS_MAX: usize = 60;

fn body(bytes: &[u8]) {
    let mut answers = bytes
        .split(|byte| *byte == 0x1e)
        .take(ANSWERS_MAX)
        .map(|answer| {
            let (status, body) = answer.split_first().unwrap_or((&0, &[]));
            (STATUSES[usize::from(*status) % STATUSES.len()], body)
        });
    let card = CardId::parse(CARD).expect("a card");
    let mut pages = Vec::new();
    let mut next = || -> Result<Option<ListPage>, Misfit> {
        let Some((status, body)) = answers.next() else {
            return Ok(None);
        };
        let page = page(status, body).map_err(Misfit::Fault)?;
        pages.push((page.clone(), body));
        Ok(Some(page))
    };
    match walk(&card, &mut next) {
        Ok(Some(rows)) => is_one_whole_list(&rows, &pages),
        Ok(None) | Err(Misfit::Moved) => {}
        Err(Misfit::Fault(fault)) => explains_itself(&fault),
    }
}

fn walk(
    card: &CardId,
    next: &mut impl FnMut() -> Result<Option<ListPage>, Misfit>,
) -> Result<Option<Vec<ListedOperation>>, Misfit> {
    let Some(first) = next()? else {
        return Ok(None);
    };
    let mut walk = Walk::begin(card, first)?;
    let further = walk.further_pages();
    assert!(*further.end() <= LIST_PAGES_MAX, "{further:?}");
    for number in further {
        let Some(page) = next()? else {
            return Ok(None);
        };
        walk.add(number, page)?;
    }
    let Some(first_again) = next()? else {
        return Ok(None);
    };
    walk.end(first_again).map(Some)
}

/// A page is the 200 of one object with rows and a place, and says what that object says.
fn page(status: u16, body: &[u8]) -> Result<ListPage, ListFault> {
    let page = read(&CameBack::Answer(Answer {
        status,
        content_type: Some("application/json".to_owned()),
        retry_after: None,
        body: Body::Whole(body.to_vec()),
    }))?;
    assert_eq!(status, 200);
    let json = Json::of(body).expect("a page is JSON");
    let names = ["data", "operations", "items"];
    assert_eq!(names.iter().map(|name| json.count(name)).sum::<usize>(), 1);
    assert!(json.has_each_once(&["pagination"], true));
    let rows = names.iter().find_map(|name| json.only(name)?.list());
    let rows = rows.expect("a list");
    assert_eq!(rows.len(), page.data.len());
    for (row, json) in page.data.iter().zip(rows) {
        let columns = [
            "id",
            "card_id",
            "entity_id",
            "operation",
            "amount",
            "description",
            "performed_at",
        ];
        assert!(json.has_each_once(&columns, true), "{json:?}");
        assert_eq!(json.text_of("id"), row.id.as_deref());
        assert_eq!(json.text_of("card_id"), row.card_id.as_deref());
        assert_eq!(json.text_of("entity_id"), row.entity_id.as_deref());
        assert_eq!(json.text_of("operation"), Some(row.operation.as_str()));
        let amount = json.only("amount").expect("an amount");
        assert!(
            amount.has_each_once(&["amount", "currency"], true),
            "{amount:?}"
        );
        let minor = amount.only("amount").and_then(Json::whole);
        assert_eq!(minor, Some(i128::from(row.amount.amount)));
        assert_eq!(
            amount.text_of("currency"),
            Some(row.amount.currency.as_str())
        );
    }
    let place = json.only("pagination").expect("a place");
    let number = |name| place.only(name).and_then(Json::whole);
    assert_eq!(
        number("total_items"),
        Some(i128::from(page.pagination.total_items))
    );
    assert_eq!(
        number("page_number"),
        Some(i128::from(page.pagination.page_number))
    );
    assert_eq!(
        number("page_size"),
        Some(i128::from(page.pagination.page_size))
    );
    Ok(page)
}

/// I1: an absence in a list with a hole would pay twice.
fn is_one_whole_list(rows: &[ListedOperation], pages: &[(ListPage, &[u8])]) {
    let (last, whole) = pages.split_last().expect("the first page again");
    let total = usize::try_from(last.0.pagination.total_items).expect("as many as rows");
    assert_eq!(rows.len(), total);
    let ids: Vec<_> = rows.iter().filter_map(|row| row.id.as_deref()).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "a row twice");
    let data = |page: &ListPage| -> Vec<_> {
        let rows = page.data.iter();
        rows.map(|row| (row.id.clone(), row.entity_id.clone(), row.amount.amount))
            .collect()
    };
    let handed_out = rows
        .iter()
        .map(|row| (row.id.clone(), row.entity_id.clone(), row.amount_minor));
    let read: Vec<_> = whole.iter().flat_map(|(page, _)| data(page)).collect();
    assert!(handed_out.eq(read));
    assert_eq!(data(&whole[0].0), data(&last.0));
    for (number, (page, _)) in (1..).zip(whole) {
        assert_eq!(page.pagination.page_number, number);
        assert!(
            page.data
                .iter()
                .all(|row| row.card_id.as_deref().is_none_or(|id| id == CARD))
        );
    }
}

fn explains_itself(fault: &ListFault) {
    assert_tells(&fault.to_string(), 2_048);
}
