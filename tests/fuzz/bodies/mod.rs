//! What must be true of each reader, whatever the bytes.
//!
//! A body judges by rules of its own: it reads the same bytes in another way, or writes what was
//! read and reads it again. It panics where something is not true, and never returns a verdict.

mod amount;
mod amqp_body;
mod amqp_properties;
mod bank_answer;
mod base_url;
mod calendar;
mod csv_dialect;
mod csv_file;
mod desk;
mod entity_id;
mod file_name;
mod http_times;
mod json;
mod ledger_row;
mod list_pages;
mod telling;

/// A reader of what strangers wrote, and what must be true of it.
pub(crate) struct Target {
    /// Its name, and that of the folder of its seeds.
    pub(crate) name: &'static str,
    /// Panics where something is not true.
    pub(crate) body: fn(&[u8]),
    /// How many mutations are run for every change: some seconds' worth.
    pub(crate) cases: u32,
    /// What means something to the reader.
    pub(crate) words: &'static [&'static str],
}

/// All of them.
pub(crate) const TARGETS: [Target; 12] = [
    amqp_body::TARGET,
    amqp_properties::TARGET,
    csv_file::TARGET,
    csv_dialect::TARGET,
    amount::TARGET,
    entity_id::TARGET,
    bank_answer::TARGET,
    list_pages::TARGET,
    http_times::TARGET,
    ledger_row::TARGET,
    file_name::TARGET,
    base_url::TARGET,
];

/// The target of this name.
pub(crate) fn target(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a name in the table")
}
