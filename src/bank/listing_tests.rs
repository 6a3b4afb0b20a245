//! Pages that make a whole, and pages that do not.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::bank::{Money, Pagination};

fn card() -> CardId {
    CardId::parse("car_5tgliBmzjZ6mpQPRbQjfKj").expect("a card")
}

/// A page of two rows a page at most.
fn page(number: u64, total: u64, ids: &[&str]) -> ListPage {
    let rows = ids.iter().map(|id| ListRow {
        id: Some((*id).to_owned()),
        card_id: None,
        entity_id: Some(format!("E-{id}")),
        operation: "topup".to_owned(),
        amount: Money {
            amount: 100,
            currency: "COP".to_owned(),
        },
        description: None,
        performed_at: None,
    });
    ListPage {
        data: rows.collect(),
        pagination: Pagination {
            page_number: number,
            page_size: 2,
            total_items: total,
            total_pages: total.div_ceil(2),
        },
    }
}

/// Reads pages in the order given; the last one is the first page again.
fn walk(pages: Vec<ListPage>) -> Result<usize, Misfit> {
    let mut pages = pages.into_iter();
    let mut next = || pages.next().expect("a page for every request");
    let mut walk = Walk::begin(&card(), next())?;
    for number in walk.further_pages() {
        walk.add(number, next())?;
    }
    walk.end(next()).map(|rows| rows.len())
}

#[test]
fn i1_only_full_steady_and_distinct_pages_make_a_list() {
    let mut other_size = page(2, 3, &["c"]);
    other_size.pagination.page_size = 3;
    for (what, pages, rows) in [
        ("nothing", vec![page(1, 0, &[]), page(1, 0, &[])], Some(0)),
        (
            "one page",
            vec![page(1, 2, &["a", "b"]), page(1, 2, &["a", "b"])],
            Some(2),
        ),
        (
            "two pages",
            vec![
                page(1, 3, &["a", "b"]),
                page(2, 3, &["c"]),
                page(1, 3, &["a", "b"]),
            ],
            Some(3),
        ),
        ("a short page", vec![page(1, 3, &["a"])], None),
        ("a long page", vec![page(1, 1, &["a", "b"])], None),
        ("no rows of one", vec![page(1, 1, &[])], None),
        (
            "another total in the middle",
            vec![page(1, 3, &["a", "b"]), page(2, 4, &["c", "d"])],
            None,
        ),
        (
            "another page size in the middle",
            vec![page(1, 3, &["a", "b"]), other_size],
            None,
        ),
        (
            "a row twice",
            vec![page(1, 3, &["a", "b"]), page(2, 3, &["b"])],
            None,
        ),
        (
            "another total at the end",
            vec![page(1, 1, &["a"]), page(1, 2, &["a", "b"])],
            None,
        ),
        (
            "other rows at the end",
            vec![page(1, 1, &["a"]), page(1, 1, &["b"])],
            None,
        ),
    ] {
        match (walk(pages), rows) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{what}"),
            (Err(Misfit::Moved), None) => {}
            (Ok(found), None) => panic!("{what}: {found} rows were believed"),
            (Err(Misfit::Moved), Some(_)) => panic!("{what}: thought to have moved"),
            (Err(Misfit::Fault(fault)), _) => panic!("{what}: {fault}"),
        }
    }
}

#[test]
fn what_no_second_reading_mends_is_a_fault() {
    let mut no_rows = page(1, 2, &["a", "b"]);
    no_rows.pagination.page_size = 0;
    let mut more_pages = page(1, 2, &["a", "b"]);
    more_pages.pagination.total_pages = 2;
    let mut other_card = page(1, 1, &["a"]);
    other_card.data[0].card_id = Some("car_0000000000000000000000".to_owned());
    let endless = page(1, u64::MAX, &["a", "b"]);
    for (what, first) in [
        ("pages of no rows", no_rows),
        ("more pages than rows", more_pages),
        ("another card", other_card),
        ("another page", page(2, 2, &[])),
    ] {
        match walk(vec![first]) {
            Err(Misfit::Fault(ListFault::NotTheBank(why))) => {
                assert!(!why.contains("car_"), "{why}");
            }
            Err(_) | Ok(_) => panic!("{what} was not a fault"),
        }
    }
    assert!(matches!(
        walk(vec![endless]),
        Err(Misfit::Fault(ListFault::TooLong(LIST_PAGES_MAX)))
    ));
}

#[test]
fn an_answer_to_a_read_is_a_page_or_a_fault() {
    let envelope = r#"{"code":"","errors":[],"id":"log_1","message":"no"}"#;
    let list = r#"{"data":[],"pagination":{"page_number":1,"page_size":10,"total_items":0,"total_pages":0}}"#;
    for (status, body, expected) in [
        (200, list, "a page"),
        (404, envelope, "UnknownCard"),
        (401, "", "CredentialRefused"),
        (403, envelope, "NotAuthorized"),
        (429, "", "RateLimited { retry_after: Some(7s) }"),
        (408, "", "Unreachable(\"status 408\")"),
        (503, "<html>", "Unreachable(\"status 503\")"),
        (
            200,
            "[]",
            "NotTheBank(\"status 200 without a list of operations\")",
        ),
        (
            200,
            "[[],[1,10,0,0]]",
            "NotTheBank(\"status 200 without a list of operations\")",
        ),
        (200, "", "NotTheBank(\"status 200 without a body\")"),
        (
            200,
            "<html>",
            "NotTheBank(\"status 200 with something else than JSON\")",
        ),
        (
            201,
            list,
            "NotTheBank(\"status 201 with JSON that is not its own\")",
        ),
        (
            404,
            "<html>",
            "NotTheBank(\"status 404 with something else than JSON\")",
        ),
        (
            404,
            "{}",
            "NotTheBank(\"status 404 with JSON that is not its own\")",
        ),
        (403, "", "NotTheBank(\"status 403 without a body\")"),
        (422, envelope, "Refused(\"status 422 and \\\"no\\\"\")"),
        (302, "", "NotTheBank(\"status 302 without a body\")"),
    ] {
        let came_back = CameBack::Answer(Answer {
            status,
            content_type: None,
            retry_after: Some(Duration::from_secs(7)),
            body: Body::Whole(body.into()),
        });
        let found = match read(&came_back) {
            Ok(_) => "a page".to_owned(),
            Err(fault) => format!("{fault:?}"),
        };
        assert_eq!(found, expected, "{status} {body}");
    }
}

/// Rows on a page of the list in the property below.
const ROWS_A_PAGE: usize = 3;

/// One page of a list as it is at this moment.
fn page_of_list(list: &[u32], number: u64) -> ListPage {
    let skipped = usize::try_from(number - 1).expect("few") * ROWS_A_PAGE;
    let rows = list.iter().skip(skipped).take(ROWS_A_PAGE);
    let ids: Vec<String> = rows.map(|id| format!("cbo_{id}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut page = page(number, u64::try_from(list.len()).expect("few"), &ids);
    page.pagination.page_size = u64::try_from(ROWS_A_PAGE).expect("few");
    page.pagination.total_pages = page
        .pagination
        .total_items
        .div_ceil(page.pagination.page_size);
    page
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 8, ..ProptestConfig::default() })]

    /// I1: operations are performed while its pages are read, and are listed wherever the bank puts them.
    /// Every one that was there before is in what is handed out, once; or nothing is handed out.
    #[test]
    fn i1_a_list_that_grows_while_it_is_read_is_whole_or_not_handed_out(
        length in 0_u32..14,
        grows in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..2), 0..8),
    ) {
        let mut list: Vec<u32> = (0..length).collect();
        let mut grows = grows.into_iter();
        let mut new_id = length..;
        let mut grow = |list: &mut Vec<u32>| {
            for (at, id) in grows.next().unwrap_or_default().iter().zip(&mut new_id) {
                list.insert(at.index(list.len() + 1), id);
            }
        };
        let read = (|| {
            let mut walk = Walk::begin(&card(), page_of_list(&list, 1))?;
            for number in walk.further_pages() {
                grow(&mut list);
                walk.add(number, page_of_list(&list, number))?;
            }
            grow(&mut list);
            walk.end(page_of_list(&list, 1))
        })();
        match read {
            Ok(rows) => {
                let ids: Vec<_> = rows.iter().filter_map(|row| row.id.as_deref()).collect();
                for id in (0..length).map(|id| format!("cbo_{id}")) {
                    let times = ids.iter().filter(|listed| **listed == id).count();
                    prop_assert_eq!(times, 1, "{} in {:?}", id, ids);
                }
            }
            Err(misfit) => prop_assert_eq!(misfit, Misfit::Moved),
        }
    }
}
