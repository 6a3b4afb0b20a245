//! Checksums of rows: a value that is not as it was written is found before it is believed.
//!
//! *What it promises.* Each row of the tables named here has a checksum of all its other values but its
//! number, written by whatever statement writes the row. A start compares every row, and whoever reads
//! a row compares it again. The tables themselves have one too.
//!
//! *What it refuses to know.* Which rows there are, and indices: SQLite's own check finds what is missing
//! or in a wrong place. And people who change a ledger on purpose: a checksum is no signature.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::trouble::Trouble;
use crate::domain::digest::Digest;

/// A table whose rows have a checksum. What its statements are put together of is `'static`: words of this
/// program, and never a stranger's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    name: &'static str,
    /// Every column in the order of the table, without the number that is its row's and the checksum,
    /// which is the last.
    columns: &'static [&'static str],
}

/// Who the ledger is and how far it has come.
pub(super) const META: Table = Table {
    name: "meta",
    columns: &[
        "ledger_id",
        "namespace",
        "bank_origin",
        "sequence",
        "control_entity_id",
        "control_seen_at",
        "tables_checksum",
    ],
};

/// What each generation of a job says, and how it stands.
pub(super) const JOBS: Table = Table {
    name: "jobs",
    columns: &[
        "entity_id",
        "generation",
        "card_id",
        "operation",
        "amount_minor",
        "currency",
        "description",
        "not_after",
        "fingerprint",
        "key",
        "body_sha256",
        "line",
        "received_at",
        "intent_at",
        "intent_bank_at",
        "person_needed",
        "doubt_reason",
        "doubt_outcome",
        "final_outcome",
        "source",
        "again_by",
        "released",
        "origin",
        "envelope",
        "was_held",
    ],
};

/// What was told, or is to be told.
pub(super) const OUTCOMES: Table = Table {
    name: "outcomes",
    columns: &[
        "event_id",
        "job",
        "entity_id",
        "generation",
        "status",
        "body",
        "settled_at",
        "published_at",
        "origin",
        "envelope",
    ],
};

/// Calls of the bank.
pub(super) const ATTEMPTS: Table = Table {
    name: "attempts",
    columns: &["job", "number", "began", "ended", "spent", "verdict"],
};

/// Readings of the bank's list.
pub(super) const ASKS: Table = Table {
    name: "asks",
    columns: &["job", "began", "ended", "finding", "evidence"],
};

/// Jobs that wait for others on their card.
pub(super) const HOLDS: Table = Table {
    name: "holds",
    columns: &[
        "entity_id",
        "generation",
        "card_id",
        "place",
        "operation",
        "amount_minor",
        "currency",
        "description",
        "not_after",
        "fingerprint",
        "key",
        "body_sha256",
        "origin",
        "source",
        "line",
        "envelope",
        "received_at",
        "intent_at",
        "intent_bank_at",
        "again_by",
        "outcome",
    ],
};

/// What a prune left.
pub(super) const TOMBSTONES: Table = Table {
    name: "tombstones",
    columns: &[
        "entity_id",
        "generation",
        "fingerprint",
        "status",
        "reason",
        "event_id",
        "begun_at",
        "begun_bank_at",
        "settled_at",
    ],
};

/// What people asked, and the answers.
pub(super) const REQUESTS: Table = Table {
    name: "requests",
    columns: &[
        "wish",
        "entity_id",
        "wanted",
        "event_id",
        "ruling",
        "evidence",
        "asked_by",
        "asked_at",
        "generation",
        "accepted",
        "answer",
        "answered_at",
    ],
};

/// Losses that people accepted.
pub(super) const LOSSES: Table = Table {
    name: "losses",
    columns: &["accepted_at", "accepted_by", "forgotten", "past"],
};

/// What came for the first time after the last loss.
pub(super) const ARRIVALS: Table = Table {
    name: "arrivals",
    columns: &["entity_id"],
};

/// All of them. A panic that is miscounted makes nothing untrue, so that `panics` is not here.
const TABLES: [Table; 10] = [
    META, JOBS, OUTCOMES, ATTEMPTS, ASKS, HOLDS, TOMBSTONES, REQUESTS, LOSSES, ARRIVALS,
];

/// The function that statements call, with the name of the table and each value.
const FUNCTION: &str = "row_checksum";

/// Lets the statements of this connection write checksums.
pub(super) fn teach(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    db.create_scalar_function(FUNCTION, -1, flags, |context| {
        let mut sum = Sum::default();
        for index in 0..context.len() {
            sum.add(context.get_raw(index));
        }
        Ok(sum.take())
    })
}

impl Table {
    /// The statement that adds a row with these values, each as `column = value`. A column that is not
    /// named is null.
    pub(super) fn insert(&self, values: &[&'static str], on_conflict: &'static str) -> String {
        let (columns, values) = self.row(values);
        let table = self.name;
        format!("INSERT INTO {table} ({columns}) VALUES ({values}) {on_conflict}")
    }

    /// The same for each row of a query, which ends so.
    pub(super) fn insert_from(&self, values: &[&'static str], query: &'static str) -> String {
        let (columns, values) = self.row(values);
        let table = self.name;
        format!("INSERT INTO {table} ({columns}) SELECT {values} {query}")
    }

    /// The statement that gives rows other values, each as `column = value`.
    pub(super) fn update(&self, values: &[&'static str], which: &'static str) -> String {
        let checksum = self.checksum_of(&self.values(values, |column| column));
        let (table, values) = (self.name, values.join(", "));
        format!("UPDATE {table} SET {values}, checksum = {checksum} {which}")
    }

    fn row(&self, values: &[&'static str]) -> (String, String) {
        let values = self.values(values, |_| "NULL");
        let checksum = self.checksum_of(&values);
        let columns = self.columns.join(", ");
        (
            format!("{columns}, checksum"),
            format!("{}, {checksum}", values.join(", ")),
        )
    }

    /// What each column is given, or else this.
    fn values(
        &self,
        given: &[&'static str],
        otherwise: impl Fn(&'static str) -> &'static str,
    ) -> Vec<&'static str> {
        let given: Vec<(&str, &str)> = given
            .iter()
            .map(|pair| pair.split_once(" = ").expect("a column and its value"))
            .collect();
        let is_column = |(column, _): &(&str, &str)| self.columns.contains(column);
        assert!(given.iter().all(is_column), "each is a column of the table");
        let value_of = |column: &'static str| {
            let of_column = given.iter().find(|(name, _)| *name == column);
            of_column.map_or_else(|| otherwise(column), |(_, value)| *value)
        };
        self.columns.iter().copied().map(value_of).collect()
    }

    fn checksum_of(&self, values: &[&'static str]) -> String {
        format!("{FUNCTION}('{}', {})", self.name, values.join(", "))
    }

    /// Compares a row, which has all columns of the table in their order, with its checksum.
    ///
    /// # Errors
    /// [`Trouble`] where it is not as it was written.
    pub(super) fn check(&self, row: &Row<'_>) -> Result<(), Trouble> {
        let first = self.columns.first().copied().unwrap_or_default();
        let first = row.as_ref().column_index(first)?;
        self.check_from(row, first, &mut Sum::default())
    }

    fn check_from(&self, row: &Row<'_>, first: usize, sum: &mut Sum) -> Result<(), Trouble> {
        sum.add(ValueRef::Text(self.name.as_bytes()));
        for index in 0..self.columns.len() {
            sum.add(row.get_ref(first + index)?);
        }
        let stored: Option<i64> = row.get(first + self.columns.len())?;
        if stored == Some(sum.take()) {
            Ok(())
        } else {
            Err(Trouble::Damaged(self.name))
        }
    }

    fn check_all(&self, db: &Connection) -> Result<(), Trouble> {
        let query = format!(
            "SELECT {}, checksum FROM {}",
            self.columns.join(", "),
            self.name
        );
        let mut statement = db.prepare(&query)?;
        let mut rows = statement.query([])?;
        let mut sum = Sum::default();
        while let Some(row) = rows.next()? {
            self.check_from(row, 0, &mut sum)?;
        }
        Ok(())
    }

    fn write_all(&self, db: &Connection) -> rusqlite::Result<()> {
        let checksum = self.checksum_of(self.columns);
        db.execute(
            &format!("UPDATE {} SET checksum = {checksum}", self.name),
            [],
        )?;
        Ok(())
    }
}

/// Gives every row the checksum of what it says, and the tables theirs: what was never checked before
/// is taken as it is.
pub(super) fn write_all(db: &Connection) -> rusqlite::Result<()> {
    let tables = of_tables(db)?;
    db.execute("UPDATE meta SET tables_checksum = ?1", [tables])?;
    TABLES.iter().try_for_each(|table| table.write_all(db))
}

/// Compares every row, and the tables themselves, with their checksums.
///
/// # Errors
/// [`Trouble`] where something is not as it was written.
pub(super) fn check_all(db: &Connection) -> Result<(), Trouble> {
    TABLES.iter().try_for_each(|table| table.check_all(db))?;
    let stored: Option<i64> = db.query_row(
        "SELECT tables_checksum FROM meta WHERE one = 1",
        [],
        |row| row.get(0),
    )?;
    if stored == Some(of_tables(db)?) {
        Ok(())
    } else {
        Err(Trouble::Damaged("sqlite_schema"))
    }
}

/// Tables, indices and triggers. What SQLite notes for itself about how to search is no part of them.
fn of_tables(db: &Connection) -> rusqlite::Result<i64> {
    let mut statement = db.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*' \
         ORDER BY type, name",
    )?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut sum = Sum::default();
    while let Some(row) = rows.next()? {
        for index in 0..columns {
            sum.add(row.get_ref(index)?);
        }
    }
    Ok(sum.take())
}

/// A checksum in the making: the first eight bytes of a SHA-256, which is there already and fast.
#[derive(Default)]
struct Sum(Vec<u8>);

impl Sum {
    /// Adds a value, with its type and length: no two rows look the same.
    fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.0.push(0),
            ValueRef::Integer(number) => {
                self.0.push(1);
                self.0.extend(number.to_be_bytes());
            }
            ValueRef::Real(number) => {
                self.0.push(2);
                self.0.extend(number.to_be_bytes());
            }
            ValueRef::Text(bytes) => self.add_bytes(3, bytes),
            ValueRef::Blob(bytes) => self.add_bytes(4, bytes),
        }
    }

    fn add_bytes(&mut self, kind: u8, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).expect("memory is smaller than that");
        self.0.push(kind);
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes);
    }

    /// The checksum of what was added; the next one begins anew.
    fn take(&mut self) -> i64 {
        let checksum = Digest::of(&self.0).first_u64().cast_signed();
        self.0.clear();
        checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sqlite::schema;

    fn tables() -> Connection {
        let mut db = Connection::open_in_memory().expect("memory");
        teach(&db).expect("a function");
        schema::migrate(&mut db, 0).expect("tables");
        db
    }

    fn columns_of(db: &Connection, table: &str) -> Vec<String> {
        let mut columns = db
            .prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")
            .expect("a query");
        let columns = columns
            .query_map([table], |row| row.get(0))
            .expect("columns");
        columns.collect::<rusqlite::Result<_>>().expect("names")
    }

    #[test]
    fn every_column_of_every_table_counts() {
        let db = tables();
        for table in TABLES {
            let mut columns = columns_of(&db, table.name);
            if ["id", "one"].contains(&columns[0].as_str()) {
                columns.remove(0);
            }
            let expected = [table.columns, &["checksum"]].concat();
            assert_eq!(columns, expected, "{}", table.name);
        }
        let without = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
                       AND name NOT IN ('panics', 'pruning') AND instr(sql, 'checksum') = 0";
        let without: i64 = db
            .query_row(without, [], |row| row.get(0))
            .expect("a count");
        assert_eq!(without, 0);
    }

    #[test]
    fn a_row_that_was_changed_is_found() {
        let db = tables();
        check_all(&db).expect("as it was made");
        for change in [
            "control_seen_at = 1, control_entity_id = 'x'",
            "checksum = NULL",
        ] {
            let changed = format!("UPDATE meta SET {change}");
            db.execute(&changed, []).expect("changed");
            assert!(
                matches!(check_all(&db), Err(Trouble::Damaged("meta"))),
                "{change}"
            );
            write_all(&db).expect("checksums");
            check_all(&db).expect("as it is now");
        }
    }

    #[test]
    fn a_table_that_was_changed_is_found() {
        let db = tables();
        db.execute_batch("DROP TRIGGER jobs_stay").expect("dropped");
        assert!(matches!(
            check_all(&db),
            Err(Trouble::Damaged("sqlite_schema"))
        ));
    }

    #[test]
    fn values_of_another_type_or_place_are_others() {
        let of = |values: &[ValueRef<'_>]| {
            let mut sum = Sum::default();
            for value in values {
                sum.add(*value);
            }
            sum.take()
        };
        let (a, b) = (ValueRef::Text(b"a"), ValueRef::Text(b"b"));
        let sums = [
            of(&[a, b]),
            of(&[b, a]),
            of(&[ValueRef::Text(b"ab")]),
            of(&[ValueRef::Blob(b"a"), b]),
            of(&[a, b, ValueRef::Null]),
            of(&[ValueRef::Integer(0)]),
            of(&[ValueRef::Null]),
        ];
        let different: std::collections::BTreeSet<_> = sums.iter().collect();
        assert_eq!(different.len(), sums.len());
    }
}
