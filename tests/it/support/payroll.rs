//! Files of jobs, as tests give them to the program.

use std::fmt::Display;

use super::program::Desk;

pub(crate) const HEADER: &str = "entity_id,card_id,operation,amount,currency,description\n";

/// A row that adds to this card; the card's id is filled up with zeros.
pub(crate) fn row(entity_id: &str, card: impl Display, amount: &str) -> String {
    format!("{entity_id},car_{card:0>22},topup,{amount},COP,\n")
}

/// So many rows `E-0`, `E-1`, … of this amount, each on a card of its own.
pub(crate) fn payroll(rows: u32, amount: &str) -> String {
    let rows = (0..rows).map(|n| row(&format!("E-{n}"), n, amount));
    HEADER.to_owned() + &rows.collect::<String>()
}

/// Writes a file of these rows; its path.
pub(crate) fn file(desk: &Desk, name: &str, rows: &[String]) -> String {
    desk.write(name, &(HEADER.to_owned() + &rows.concat()))
}
