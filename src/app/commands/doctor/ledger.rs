//! The record: whether it can be relied on, and what it holds open.
//!
//! *What it promises.* Reads as a visitor, beside whoever owns it.
//!
//! *What it refuses to know.* The bank.

use super::Check;
use super::bank::Probed;
use crate::app::commands::{open_visit, unreadable};
use crate::app::compose;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::engine::settings::MIB_BYTES;
use crate::ledger::Visitor;
use crate::ledger::history::Overview;

/// Room for some hundred thousand jobs beyond what must stay free, at about one KiB for each: a large
/// payroll.
const ROOM_WARN_MIB: u64 = 512;
/// Open jobs that are counted: beyond it, `status` counts.
const OPEN_COUNTED: usize = 1_000;

pub(super) fn visit(config: &Config) -> Result<Visitor, Failure> {
    open_visit(config)
}

/// The newest job that the bank confirmed.
pub(super) fn a_paid_job(visitor: Option<&Visitor>) -> Probed {
    let find = || {
        let visitor = visitor?;
        let (_, entity_id) = visitor.a_paid_card().ok()??;
        let mut history = visitor.history(&entity_id).ok()?;
        let intent = history.generations.pop()?.intent;
        let begun_at = intent.at.bank.min(intent.at.wall);
        Some(Probed::Paid {
            job: intent.job,
            begun_at,
        })
    };
    find().unwrap_or(Probed::Nobody)
}

pub(super) fn checks(config: &Config, visit: Result<&Visitor, &Failure>) -> Vec<Check> {
    let visitor = match visit {
        Ok(visitor) => visitor,
        Err(failure) => {
            return vec![Check::fault("ledger", failure, "see what is named here")];
        }
    };
    let overview = match visitor.overview().map_err(unreadable) {
        Ok(overview) => overview,
        Err(failure) => {
            let remedy =
                "keep the file as it is, with everything beside it; nothing can be paid from it";
            return vec![Check::fault("ledger", &failure, remedy)];
        }
    };
    vec![
        ledger(visitor, &overview),
        binding(config, &overview),
        anchor(visitor, &overview),
        room(visitor, config.ledger.min_free_mib),
        open(visitor),
        control(&overview),
    ]
}

fn ledger(visitor: &Visitor, overview: &Overview) -> Check {
    let path = visitor.path().display();
    let owner = match visitor.is_owned() {
        Ok(true) => "a process of tanda owns it now",
        Ok(false) => "no process owns it",
        Err(error) => {
            let failure = unreadable(error);
            return Check::fault("ledger", &failure, "give this user the right to read it");
        }
    };
    let what = format!("{path}; can be read; commit {}; {owner}", overview.sequence);
    match &overview.paused_by {
        Some((by, at)) => Check::warn(
            "ledger",
            format!(
                "{what}; the flow is PAUSED by {by} since {}",
                words::moment(*at)
            ),
            "nothing is sent until `tanda resume --by NAME`",
        ),
        None => Check::ok("ledger", what),
    }
}

fn binding(config: &Config, overview: &Overview) -> Check {
    let name = "ledger binding";
    let wanted = match compose::binding(config) {
        Ok(wanted) => wanted,
        Err(failure) => return Check::fault(name, &failure, "correct bank.base_url"),
    };
    let wanted = (wanted.namespace.as_str().to_owned(), wanted.bank_origin);
    match &overview.bound {
        None => Check::ok(
            name,
            "not used yet; the first run binds it to this namespace and bank",
        ),
        Some(bound) if *bound == wanted => Check::ok(
            name,
            format!(
                "namespace {} and bank {}, as the settings say",
                bound.0, bound.1
            ),
        ),
        Some(bound) => Check::fail(
            name,
            Exit::Unusable,
            format!(
                "it belongs to namespace {} and bank {}, but the settings say {} and {}",
                bound.0, bound.1, wanted.0, wanted.1
            ),
            "correct the setting, or use a ledger of its own: with another the same jobs could be \
             paid twice",
        ),
    }
}

fn anchor(visitor: &Visitor, overview: &Overview) -> Check {
    let name = "ledger anchor";
    match (visitor.check_anchor(), &overview.loss) {
        (Ok(()), Some(loss)) => Check::warn(
            name,
            format!(
                "it remembers all since {}, when {} accepted that it had forgotten what was before",
                words::moment(loss.accepted_at),
                words::tame(loss.by.as_str())
            ),
            "nothing: jobs that it does not know are asked about before they are sent",
        ),
        (Ok(()), None) => Check::ok(name, "the ledger remembers all that its anchor has seen"),
        (Err(error), _) => {
            let failure = Failure::new(Exit::Unusable, error);
            let remedy = "pay nothing from it; put back the right file with its anchor";
            Check::fault(name, &failure, remedy)
        }
    }
}

/// Below `ledger.min_free_mib` the flow pauses, so that the ledger never meets a full disk.
fn room(visitor: &Visitor, min_free_mib: u64) -> Check {
    let name = "disk";
    let Some(bytes) = visitor.free_bytes() else {
        let what = "how much room there is cannot be told here";
        return Check::warn(name, what, "look at it by other means");
    };
    let free_mib = bytes / MIB_BYTES;
    let what = format!("{free_mib} MiB free where the ledger is");
    if free_mib < min_free_mib {
        let what = format!("{what}, and ledger.min_free_mib asks for {min_free_mib}");
        let remedy = "make room: payments pause below it, and nothing is lost";
        return Check::fail(name, Exit::Unusable, what, remedy);
    }
    if free_mib < ROOM_WARN_MIB.saturating_add(min_free_mib) {
        return Check::warn(name, what, "make room before the next large payroll");
    }
    Check::ok(name, what)
}

fn open(visitor: &Visitor) -> Check {
    let name = "open jobs";
    let open = match visitor.open_jobs(None, OPEN_COUNTED) {
        Ok(open) => open,
        Err(error) => {
            let failure = unreadable(error);
            return Check::fault(
                name,
                &failure,
                "keep the file as it is, with everything beside it",
            );
        }
    };
    let in_doubt = open.iter().filter(|line| line.doubt.is_some()).count();
    let begun = open.len() - in_doubt;
    let at_least = if open.len() == OPEN_COUNTED {
        "at least "
    } else {
        ""
    };
    if open.is_empty() {
        return Check::ok(name, "nothing is in doubt");
    }
    Check::warn(
        name,
        format!(
            "{at_least}{in_doubt} in doubt and {begun} begun without an outcome: their money may \
             have moved"
        ),
        "do not pay them another way; `tanda status` shows them with their money",
    )
}

fn control(overview: &Overview) -> Check {
    let name = "positive control";
    match &overview.control {
        Some(control) => Check::ok(
            name,
            format!(
                "the bank's list showed {}, which this ledger had paid, on {}",
                control.entity_id,
                words::moment(control.seen_at)
            ),
        ),
        None => Check::warn(
            name,
            "the bank's list has not shown a payment of this ledger yet: until then, that it does \
             not show a job proves nothing",
            "none needed: the first payments look for it by themselves",
        ),
    }
}
