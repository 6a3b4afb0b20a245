//! Changes to a ledger's file that the ledger itself would never make, sealed with the checksums that it
//! would have written: without them they are taken for damage. Written anew from the format, so that a
//! checksum is what anybody can compute.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use tanda::domain::digest::Digest;

/// Gives every row of a table the checksum of what it says now.
pub(crate) fn seal(db: &Connection, table: &str) {
    teach(db);
    let mut columns = db
        .prepare(
            "SELECT name FROM pragma_table_info(?1) WHERE name NOT IN ('id', 'one', 'checksum')",
        )
        .expect("a query");
    let columns: Vec<String> = columns
        .query_map([table], |row| row.get(0))
        .expect("columns")
        .collect::<rusqlite::Result<_>>()
        .expect("names");
    let columns = columns.join(", ");
    let seal = format!("UPDATE {table} SET checksum = row_checksum('{table}', {columns})");
    db.execute(&seal, []).expect("sealed");
}

/// Gives the tables, indices and triggers that there are now theirs.
#[allow(dead_code, reason = "not every suite changes them")]
pub(crate) fn seal_tables(db: &Connection) {
    let mut bytes = Vec::new();
    let mut tables = db
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        .expect("a query");
    let mut rows = tables.query([]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        for index in 0..4 {
            add(&mut bytes, row.get_ref(index).expect("a value"));
        }
    }
    db.execute("UPDATE meta SET tables_checksum = ?1", [sum(&bytes)])
        .expect("sealed");
    seal(db, "meta");
}

fn teach(db: &Connection) {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let taught = db.create_scalar_function("row_checksum", -1, flags, |context| {
        let mut bytes = Vec::new();
        for index in 0..context.len() {
            add(&mut bytes, context.get_raw(index));
        }
        Ok(sum(&bytes))
    });
    taught.expect("a function");
}

fn sum(bytes: &[u8]) -> i64 {
    Digest::of(bytes).first_u64().cast_signed()
}

fn add(bytes: &mut Vec<u8>, value: ValueRef<'_>) {
    let (kind, value) = match value {
        ValueRef::Null => (0, Vec::new()),
        ValueRef::Integer(number) => (1, number.to_be_bytes().to_vec()),
        ValueRef::Real(number) => (2, number.to_be_bytes().to_vec()),
        ValueRef::Text(text) => (3, long(text)),
        ValueRef::Blob(blob) => (4, long(blob)),
    };
    bytes.push(kind);
    bytes.extend(value);
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u64::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}
