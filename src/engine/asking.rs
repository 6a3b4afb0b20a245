//! Asking: reading the bank's list to learn what became of a job, and proving that the list can be
//! believed.
//!
//! *What it promises.* An ask never sends money. The positive control is kept from this ledger's own 2xx,
//! and from nothing else; only where the ledger has forgotten these, from what an ask has found.
//!
//! *What it refuses to know.* What follows from a finding: that is
//! [`progress`](crate::domain::progress).

use std::time::Duration;

use super::ports::{AskNote, Control, JobRef, LedgerError, ListFault};
use super::settings::ASK_LOOKBACK;
use super::tower::Tower;
use crate::domain::job::Job;
use crate::domain::listing::{self, Finding};
use crate::domain::progress::Event;
use crate::domain::time::{Moment, Timestamp};
use crate::telemetry;

/// First wait before the control is looked for again.
const CONTROL_RETRY: Duration = Duration::from_secs(1);
/// Longest wait before it is: a list that lags shows it within minutes.
const CONTROL_RETRY_MAX: Duration = Duration::from_secs(60);

/// What one reading of the list said, and when it was.
pub(super) struct Reading {
    pub(super) finding: Finding,
    /// Whether the positive control was on record.
    pub(super) control: bool,
    pub(super) began: Moment,
    pub(super) ended: Moment,
}

impl Reading {
    /// No reading at all.
    pub(super) const fn none(at: Moment) -> Self {
        Self {
            finding: Finding::Unreadable,
            control: false,
            began: at,
            ended: at,
        }
    }

    /// As an event of a job in doubt.
    pub(super) fn asked(self, unscheduled: bool) -> Event {
        let Self {
            finding,
            control,
            began,
            ended,
        } = self;
        Event::Asked {
            finding,
            control,
            unscheduled,
            began,
            ended,
        }
    }

    /// As an event of a later generation before its first call.
    pub(super) fn proved(self) -> Event {
        Event::Proved {
            finding: self.finding,
            control: self.control,
            at: self.ended,
        }
    }
}

/// From when on the list is read about what was sent since this moment.
pub(super) fn list_from(since: Moment) -> Timestamp {
    since.bank.min(since.wall).minus(ASK_LOOKBACK)
}

/// Asks the bank's list from this time on about a job, records the ask about this generation, if it is on
/// record, and says what it found.
pub(super) async fn ask(
    tower: &Tower,
    job: &Job,
    about: Option<JobRef>,
    from: Timestamp,
) -> Result<Reading, LedgerError> {
    let _permit = tower
        .ask_permits
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let began = tower.clocks.now();
    let (finding, evidence) = match tower.bank.list(&job.card_id, from).await {
        Ok(operations) => {
            let finding = listing::find(job, &operations);
            let evidence = evidence_of(&finding, operations.len(), from);
            (finding, evidence)
        }
        Err(fault) => (finding_of(&fault), fault.to_string()),
    };
    let ended = tower.clocks.now();
    telemetry::AskEnded {
        entity_id: &job.entity_id,
        finding: &finding,
        evidence: &evidence,
        took: ended.surely_since(began),
    }
    .emit();
    raise_alarm(job, &finding);
    let note = AskNote {
        began: began.wall,
        ended: ended.wall,
        finding: finding.as_str(),
        evidence,
    };
    if finding.is_find() && tower.forgotten.is_some() && !tower.control.is_on_record() {
        // What this ledger got a 2xx for is forgotten with it: that the list shows what was asked about is
        // all there is to go by.
        keep(tower, job).await?;
    }
    if let Some(about) = about {
        tower.ledger.note_ask(about, note).await?;
    }
    Ok(Reading {
        finding,
        control: tower.control.is_on_record(),
        began,
        ended,
    })
}

const fn finding_of(fault: &ListFault) -> Finding {
    match fault {
        // A card that is not known now may have been known when it was paid: no proof of absence.
        ListFault::NotAuthorized
        | ListFault::UnknownCard
        | ListFault::Refused(_)
        | ListFault::TooLong(_) => Finding::Barred,
        ListFault::Unreachable(_)
        | ListFault::CredentialRefused
        | ListFault::RateLimited { .. }
        | ListFault::NotTheBank(_)
        | ListFault::Shifting => Finding::Unreadable,
    }
}

fn evidence_of(finding: &Finding, rows: usize, from: Timestamp) -> String {
    let listed = match finding {
        Finding::Found { operation_id } | Finding::FoundMore { operation_id, .. } => {
            operation_id.as_deref().unwrap_or("an operation without id")
        }
        Finding::OtherContent => "this entity_id with other content",
        Finding::Absent => "not there",
        Finding::Ambiguous => "an equal operation without entity_id",
        Finding::Unreadable | Finding::Barred => "nothing",
    };
    format!("{listed}; {rows} operations listed since {from}")
}

fn raise_alarm(job: &Job, finding: &Finding) {
    let (entity_id, card_id) = (&job.entity_id, &job.card_id);
    match finding {
        Finding::FoundMore { times, .. } => {
            telemetry::PaidMoreThanOnce {
                entity_id,
                card_id,
                times: *times,
            }
            .emit();
        }
        Finding::OtherContent => telemetry::OtherContentListed { entity_id, card_id }.emit(),
        Finding::Found { .. }
        | Finding::Absent
        | Finding::Ambiguous
        | Finding::Unreadable
        | Finding::Barred => {}
    }
}

/// Waits for the first 2xx of this process and reads the list until it shows that job, or a later
/// one where it does not: the list of one card may be barred.
pub(super) async fn keep_control(tower: &Tower) -> Result<(), LedgerError> {
    let mut wait = CONTROL_RETRY;
    loop {
        let (job, accepted_at) = tower.control.candidate().await;
        let from = list_from(accepted_at);
        let listed = {
            let _permit = tower
                .ask_permits
                .acquire()
                .await
                .expect("the semaphore is never closed");
            tower.bank.list(&job.card_id, from).await
        };
        if listed.is_ok_and(|operations| listing::returns_entity_id(&job, &operations)) {
            return keep(tower, &job).await;
        }
        tower.control.want_another();
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(CONTROL_RETRY_MAX);
    }
}

/// The list has shown this job.
async fn keep(tower: &Tower, job: &Job) -> Result<(), LedgerError> {
    let control = Control {
        entity_id: job.entity_id.clone(),
        seen_at: tower.clocks.now().wall,
    };
    tower.ledger.note_control(control).await?;
    tower.control.set_on_record();
    Ok(())
}
