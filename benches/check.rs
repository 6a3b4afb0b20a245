//! How fast a large file is copied, hashed and checked, and in how much memory.
//!
//! `cargo bench --bench check [-- ROWS]` (a million unless said) makes payroll files in a temporary
//! folder, one with plain amounts and one as a sheet in es-CO writes it, and prints for each seconds,
//! rows per second and the peak of resident memory so far.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tanda::files::{ReadingRules, Spool, check};

const ROWS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rows = asked.unwrap_or(ROWS);
    for dialect in [Dialect::Plain, Dialect::Spanish] {
        measure(rows, dialect)?;
    }
    Ok(())
}

/// How the file is written.
#[derive(Clone, Copy, Debug)]
enum Dialect {
    Plain,
    Spanish,
}

fn measure(rows: u64, dialect: Dialect) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("payroll.csv");
    write_payroll(&path, rows, dialect)?;

    let rules = ReadingRules::default();
    let begun = Instant::now();
    let spool = Spool::take(&path, folder.path(), rules.max_bytes)?;
    let taken = begun.elapsed();
    let checked = check(&spool, &rules)?;
    let done = begun.elapsed();
    assert_eq!(checked.ok, rows, "{:?}", checked.errors.first());

    let mut out = std::io::stdout().lock();
    writeln!(out, "{dialect:?}")?;
    writeln!(out, "rows       {rows} ({} bytes)", spool.bytes())?;
    writeln!(out, "copy, hash {taken:.2?}")?;
    writeln!(out, "check      {:.2?}", done.saturating_sub(taken))?;
    writeln!(out, "rows/s     {}", per_second(rows, done))?;
    writeln!(out, "peak RSS   {}", peak_rss()?)?;
    Ok(())
}

fn per_second(rows: u64, took: Duration) -> u128 {
    u128::from(rows) * 1_000_000 / took.as_micros().max(1)
}

/// Rows that differ where a real file's do: id, card, amount and description.
fn write_payroll(path: &Path, rows: u64, dialect: Dialect) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let between = match dialect {
        Dialect::Plain => ",",
        Dialect::Spanish => ";",
    };
    let names = [
        "entity_id",
        "card_id",
        "operation",
        "amount",
        "currency",
        "description",
    ];
    writeln!(file, "{}", names.join(between))?;
    for row in 1..=rows {
        let card = (row / 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let operation = if row % 10 == 0 { "withdrawal" } else { "topup" };
        let pesos = 1_050_000 + card % 7_000_000;
        let (millions, thousands, ones) = (pesos / 1_000_000, pesos / 1_000 % 1_000, pesos % 1_000);
        match dialect {
            Dialect::Plain => writeln!(
                file,
                "NOM-2026-11-{row:07},car_{card:022x},{operation},{pesos}.00,COP,Nómina noviembre {row}"
            )?,
            Dialect::Spanish => writeln!(
                file,
                "NOM-2026-11-{row:07};car_{card:022x};{operation};{millions}.{thousands:03}.{ones:03},00;\
                 COP;Nómina noviembre {row}"
            )?,
        }
    }
    file.flush()
}

/// The largest resident memory of this process so far, as Linux tells it.
fn peak_rss() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(peak.unwrap_or("unknown").trim().to_owned())
}
