//! Going on with a ledger that has forgotten something, because a person accepts that.
//!
//! *What it promises.* Nothing is deleted: a damaged file, and what is left of one that is gone, is put
//! aside. What is accepted is in the ledger before anything may be paid from it, and interrupted anywhere
//! the ledger is refused as before. The positive control outlives the loss, where the anchor has kept it
//! for the same bank.
//!
//! *What it refuses to know.* What follows for a job: that is the engine's.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::open::{self, Meta, fault, sql};
use super::trouble::Trouble;
use super::{Binding, holds, losses, read, whole, write};
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::Control;
use crate::ledger::anchor::Anchor;
use crate::ledger::error::{Forgotten, OpenError};
use crate::ledger::place;

/// What was accepted, and what there is now.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What the ledger had lost.
    pub lost: Forgotten,
    /// Whether it begins anew, without any job.
    pub is_new: bool,
    /// Files that were put aside.
    pub aside: Vec<PathBuf>,
    /// The positive control that it has.
    pub control: Option<Control>,
    /// Jobs that it knows to be in doubt.
    pub in_doubt: u64,
    /// Jobs that it knows to wait.
    pub held: u64,
}

/// Who accepts a loss, and when.
pub(super) struct By<'a> {
    pub(super) person: &'a Person,
    pub(super) at: Timestamp,
}

/// What is wrong with this ledger, if a person could accept it; for what nobody needs to accept, or can, an
/// [`OpenError`].
pub(super) fn find_loss(path: &Path, binding: &Binding) -> Result<Forgotten, OpenError> {
    let (path, _lock) = begin(path)?;
    look(&path, binding)
}

/// Accepts what [`find_loss`] finds.
pub(super) fn accept(path: &Path, binding: &Binding, by: &By<'_>) -> Result<Accepted, OpenError> {
    let (path, _lock) = begin(path)?;
    let lost = look(&path, binding)?;
    let anchor = open::read_anchor(&path, &open::anchor_of(&path))
        .ok()
        .flatten();
    let control = anchor
        .as_ref()
        .and_then(|anchor| anchor.control_of(&binding.bank_origin));
    let is_new = matches!(
        lost,
        Forgotten::Remains { .. } | Forgotten::Damaged { .. } | Forgotten::All
    );
    let aside = if is_new {
        begin_anew(&path, binding, by, &lost, control.as_ref())?
    } else {
        Vec::new()
    };
    let mut db = open::connect(&path).map_err(sql(&path, "opening it"))?;
    open::check_format(&path, &mut db)?;
    if matches!(lost, Forgotten::LogIsBroken { .. }) {
        open::empty_log(&path, &db)?;
    }
    let write =
        |db: &mut Connection| record(db, binding, by, &lost, anchor.as_ref(), control.as_ref());
    if !is_new {
        write(&mut db).map_err(fault(&path, "recording what was accepted"))?;
    }
    let meta = Meta::read(&db).map_err(sql(&path, "reading what it belongs to"))?;
    open::write_anchor(&path, &open::anchor_of(&path), &meta, &db)?;
    let told = |error: Trouble| fault(&path, "reading what it knows")(error);
    let figures = read::open_figures(&db).map_err(told)?;
    Ok(Accepted {
        lost,
        is_new,
        aside,
        control: read::control(&db).map_err(told)?,
        in_doubt: figures.in_doubt,
        held: holds::count(&db).map_err(told)?,
    })
}

fn begin(path: &Path) -> Result<(PathBuf, std::fs::File), OpenError> {
    let real = std::fs::canonicalize(path);
    let path = real.unwrap_or_else(|_| path.to_owned());
    open::check_sqlite(&path)?;
    place::create_directory_of(&path).map_err(fault(&path, "making its directory"))?;
    let lock = open::lock(&path)?;
    Ok((path, lock))
}

fn look(path: &Path, binding: &Binding) -> Result<Forgotten, OpenError> {
    if !path.exists() {
        return Ok(match open::refuse_remains(path) {
            Err(OpenError::Forgot { how, .. }) => how,
            Err(error) => return Err(error),
            Ok(()) => Forgotten::All,
        });
    }
    match look_into(path, binding) {
        Ok(()) => Err(OpenError::NothingForgotten {
            path: path.to_owned(),
        }),
        Err(OpenError::Forgot { how, .. }) => Ok(how),
        Err(OpenError::Corrupt { finding, path: of }) if of == path => {
            Ok(Forgotten::Damaged { finding })
        }
        // The ledger is whole, and nothing says how far it had come.
        Err(OpenError::Corrupt { .. }) => Ok(Forgotten::AnchorIsUnreadable),
        Err(error) => Err(error),
    }
}

fn look_into(path: &Path, binding: &Binding) -> Result<(), OpenError> {
    let mut db = open::connect(path).map_err(sql(path, "opening it"))?;
    open::leave_log(&db).map_err(sql(path, "opening it"))?;
    whole::check_log(path, &db)?;
    open::check_format(path, &mut db)?;
    let meta = Meta::read(&db).map_err(sql(path, "reading what it belongs to"))?;
    meta.check_binding(path, binding)?;
    let anchor_path = open::anchor_of(path);
    let anchor = open::read_anchor(path, &anchor_path)?;
    open::compare_anchor(path, &anchor_path, anchor.as_ref(), &meta)
}

/// Builds an empty ledger that says so beside its place, and moves it there over what is damaged, which has
/// another name by then.
fn begin_anew(
    path: &Path,
    binding: &Binding,
    by: &By<'_>,
    lost: &Forgotten,
    control: Option<&Control>,
) -> Result<Vec<PathBuf>, OpenError> {
    let failed = |doing| fault(path, doing);
    let part = open::fresh_part(path)?;
    let mut db = open::connect(&part).map_err(sql(path, "opening a new one"))?;
    record(&mut db, binding, by, lost, None, control)
        .map_err(fault(path, "recording what was accepted"))?;
    db.close()
        .map_err(|(_, error)| error)
        .map_err(sql(path, "closing a new one"))?;
    let suffix = format!(".lost-{}", by.at.as_millis());
    let mut aside = Vec::new();
    for left in ["-wal", "-shm"] {
        let left = place::beside(path, left);
        if left.exists() {
            let to = place::beside(&left, &suffix);
            place::rename(&left, &to).map_err(failed("putting aside what is left of it"))?;
            aside.push(to);
        }
    }
    if path.exists() {
        let to = place::beside(path, &suffix);
        std::fs::hard_link(path, &to).map_err(failed("putting it aside"))?;
        aside.push(to);
    }
    place::rename(&part, path).map_err(failed("moving a new one to its place"))?;
    Ok(aside)
}

/// In one commit, numbered behind every other that is known of.
fn record(
    db: &mut Connection,
    binding: &Binding,
    by: &By<'_>,
    lost: &Forgotten,
    anchor: Option<&Anchor>,
    control: Option<&Control>,
) -> Result<(), Trouble> {
    let meta = Meta::read(db)?;
    let seen = anchor.filter(|anchor| anchor.is_of(&meta.whose.ledger_id));
    let newest = seen.map_or(meta.sequence, |anchor| anchor.sequence().max(meta.sequence));
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if meta.whose.bound.is_none() {
        open::bind(&tx, binding)?;
    }
    losses::accept(&tx, by.person, by.at, &lost.to_string())?;
    if let Some(control) = control
        && read::control(&tx)?.is_none()
    {
        write::note_control(&tx, control)?;
    }
    write::set_sequence(&tx, newest + 1)?;
    tx.commit()?;
    Ok(())
}
