//! Calls of the bank: what becomes of each on its way there and back.

use tanda::domain::progress::{Event, Progress};
use tanda::domain::verdict::{Deferral, UnclearCause, Verdict};

use super::World;
use super::flight::Doing;
use crate::answers::Heard;
use crate::bank::Request;
use crate::mutant::Mutant;
use crate::oracle::{Sending, Violation, broken};

/// What becomes of a call.
#[derive(Debug)]
struct Fate {
    /// When it arrives at the bank, if it does.
    arrives_after: Option<u64>,
    /// When it ends for us.
    ends_after: u64,
    /// What comes back, where that is not the bank's answer.
    told: Option<Heard>,
    /// Whether the bank fails over it.
    fails: bool,
}

impl Fate {
    const fn new(arrives_after: Option<u64>, ends_after: u64, told: Option<Heard>) -> Self {
        Self {
            arrives_after,
            ends_after,
            told,
            fails: false,
        }
    }
}

impl World {
    pub(super) fn arrivals_until(&mut self, until: u64) -> Result<(), Violation> {
        loop {
            let requests = self.bank.requests.iter().enumerate();
            let first = requests.min_by_key(|(_, request)| request.arrives);
            match first {
                Some((index, request)) if request.arrives <= until => self.arrival(index)?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Nobody waits for the answer to this job's call any more: what was sent is executed within the settle
    /// delay of now, or never.
    pub(super) fn give_up_call(&mut self, job: usize) {
        let now = self.now;
        let latest = now + self.plan.late_max_ms;
        for request in &mut self.bank.requests {
            if request.job == job {
                request.arrives = request.arrives.min(latest);
            }
        }
        self.watched(job).call_ended(now);
    }

    pub(super) fn arrival(&mut self, index: usize) -> Result<(), Violation> {
        let request = self.bank.requests.swap_remove(index);
        let job = request.job;
        let (answer, executed) = self.bank.take(&self.plan, &mut self.rng, &request);
        self.note(|_| {
            let moved = if executed { ", and money moves" } else { "" };
            format!(
                "job {job}: the bank gets call {}: {answer:?}{moved}",
                request.call
            )
        });
        if !executed {
            return Ok(());
        }
        let applied = self.applied(job);
        if applied > 1 {
            return Err(broken(
                "I1",
                format!("job {job} was executed {applied} times"),
            ));
        }
        self.judge_what_was_told(job)
    }

    /// Money moved: nobody may have been told that it would not.
    fn judge_what_was_told(&self, job: usize) -> Result<(), Violation> {
        let is_anew = self.watched.get(job).is_some_and(|it| it.is_anew);
        for told in &self.broker.results {
            let counts = told.event.job == job && !(told.before_loss && is_anew);
            if let (true, Some(body)) = (counts, &told.body) {
                self.judge(job, told.event.generation, &body.outcome)?;
            }
        }
        for (generation, row) in self.ledger.entry(job).rows.iter().enumerate() {
            if let Some(body) = &row.end {
                self.judge(job, generation, &body.outcome)?;
            }
        }
        Ok(())
    }

    pub(super) fn call(&mut self, job: usize) -> Result<(), Violation> {
        self.calls += 1;
        self.figures.calls += 1;
        let call = self.calls;
        let flight = self.flight(job).expect("a call is of a job under way");
        let (generation, content) = (flight.generation, flight.content);
        let attempts = self.progress(job).map_or(0, Progress::attempts);
        let own_key = self.part(job).key(generation);
        let key = if self.mutant == Mutant::NewKeyPerAttempt {
            self.part(job)
                .key(usize::try_from(attempts).unwrap_or_default())
        } else {
            own_key
        };
        self.judge_send(job, generation, (key, own_key))?;
        let fate = self.fate(job);
        self.note(|_| format!("job {job}: call {call}, {fate:?}"));
        if let Some(after) = fate.arrives_after {
            self.bank.requests.push(Request {
                arrives: self.now + after,
                call,
                job,
                generation,
                content,
                key,
                fails: fate.fails,
            });
        }
        self.flight_mut(job).doing = Doing::Calling {
            call,
            ends: self.now + fate.ends_after,
            told: fate.told,
        };
        Ok(())
    }

    fn judge_send(
        &mut self,
        job: usize,
        generation: usize,
        (key, own_key): (
            tanda::domain::key::IdempotencyKey,
            tanda::domain::key::IdempotencyKey,
        ),
    ) -> Result<(), Violation> {
        let at = self.moment();
        let told_over = self.broker.results.iter().any(|told| {
            let event = told.event;
            event.kind.is_end() && event.job == job && event.generation >= generation
        });
        let row = self.ledger.row(job, generation);
        let window = self.plan.rules.resend_window.as_millis();
        let sending = Sending {
            now: self.now,
            life: self.process.life,
            window_ms: u64::try_from(window).expect("a window is short"),
            generation,
            content: self
                .flight(job)
                .map_or(crate::cast::Content::First, |it| it.content),
            intent_is_durable: row.is_some_and(|row| row.intent),
            end_is_durable: row.is_some_and(|row| row.end.is_some()),
            refusal_is_durable: row.is_some_and(|row| row.refusal.is_some()),
            person_is_called: row.is_some_and(|row| row.person_needed),
            version: self.version(),
            expired: self.not_after(job).is_some_and(|end| at.is_after(end)),
            told_over,
            key,
            own_key,
        };
        let judgement = self.watched(job).send(&sending);
        if self.judges_procedure {
            judgement
        } else {
            Ok(())
        }
    }

    fn fate(&mut self, job: usize) -> Fate {
        let timeout = self.plan.timeout_ms;
        let quick = self.rng.between(1, timeout / 10);
        let away = self.now < self.bank.away_until && self.has_faults();
        if let Some(told) = self.fate_before_the_bank(job, away) {
            return Fate::new(None, quick, Some(told));
        }
        let chances = &self.plan.chances;
        let (silence, conflict) = (chances.silence, chances.conflict);
        let (reply_lost, cut, late) = (chances.reply_lost, chances.cut, chances.late);
        let (error_after, error_inside) = (chances.error_after, chances.error_inside);
        if self.strikes(silence) {
            return Fate::new(None, timeout, Some(Heard::Silence));
        }
        if self.strikes(conflict) {
            let arrives = self.rng.coin().then_some(quick);
            return Fate::new(arrives, quick, Some(Heard::Conflict));
        }
        if self.strikes(reply_lost) {
            self.figures.lost_answers += 1;
            let (ends, told) = if self.rng.coin() {
                (timeout, Heard::Silence)
            } else {
                (quick, Heard::Reset)
            };
            return Fate::new(Some(quick), ends, Some(told));
        }
        if self.strikes(cut) {
            self.figures.lost_answers += 1;
            return Fate::new(Some(quick), quick, Some(Heard::Cut));
        }
        if self.strikes(error_after) {
            self.figures.lost_answers += 1;
            return Fate::new(Some(quick), quick, Some(Heard::Gateway));
        }
        if self.strikes(late) {
            let arrives = timeout + self.rng.between(1, self.plan.late_max_ms);
            return Fate::new(Some(arrives), timeout, Some(Heard::Silence));
        }
        let fails = self.strikes(error_inside);
        Fate {
            fails,
            ..Fate::new(Some(quick), quick, None)
        }
    }

    /// What comes back of a call that the bank does not get, if that is its fate.
    fn fate_before_the_bank(&mut self, job: usize, away: bool) -> Option<Heard> {
        let chances = &self.plan.chances;
        let (no_connection, unauthorised) = (chances.no_connection, chances.unauthorised);
        let (forbidden, rate_limit) = (chances.forbidden, chances.rate_limit);
        let (error_before, portal) = (chances.error_before, chances.portal);
        if (away && self.rng.coin()) || self.strikes(no_connection) {
            return Some(Heard::Unsent);
        }
        if self.strikes(unauthorised) {
            return Some(Heard::Unauthorised);
        }
        if self.strikes(forbidden) {
            self.bank.forbids(job);
            return Some(Heard::Forbidden);
        }
        if self.strikes(rate_limit) {
            let retry_after = self.rng.coin();
            let retry_after = retry_after.then(|| self.rng.magnitude(2_000_000));
            return Some(Heard::Busy(retry_after));
        }
        if self.strikes(portal) {
            let refuses = self.rng.coin();
            return Some(if refuses {
                Heard::PortalRefuses
            } else {
                Heard::Portal
            });
        }
        if away || self.strikes(error_before) {
            let retry_after = self.rng.per_mille(200);
            let retry_after = retry_after.then(|| self.rng.magnitude(2_000_000));
            return Some(Heard::Failed(retry_after));
        }
        None
    }

    pub(super) fn call_ended(
        &mut self,
        job: usize,
        call: u64,
        told: Option<Heard>,
    ) -> Result<(), Violation> {
        let answers = &mut self.bank.answers;
        let position = answers.iter().position(|(of, _)| *of == call);
        let answer = position.map(|index| answers.swap_remove(index).1);
        let heard = told.or(answer).expect("a call without a fate is answered");
        let verdict = self
            .mutant
            .hears(heard)
            .verdict(self.process.token_is_proven);
        self.note(|_| format!("job {job}: {heard:?} is {}", verdict.as_str()));
        let now = self.now;
        self.watched(job).call_ended(now);
        self.flight_mut(job).quiet_since = self.mono();
        self.learn_from(job, heard, &verdict);
        let bank_answers = self.whether_bank_answers(job);
        let unclear_before = self
            .progress(job)
            .is_some_and(Progress::may_have_been_executed);
        if let Some(outcome) = self.mutant.jumps_to(&verdict, unclear_before) {
            return self.act(job, tanda::domain::progress::Action::Settle(outcome));
        }
        self.hear(job, verdict, bank_answers)
    }

    /// What the process as a whole makes of an answer.
    fn learn_from(&mut self, job: usize, heard: Heard, verdict: &Verdict) {
        if heard.is_the_banks() {
            self.process.heard = Some((self.bank_time(), self.mono()));
        }
        let pause = match verdict {
            Verdict::Accepted { .. } | Verdict::Refused(_) => {
                self.process.answers += 1;
                self.process.token_is_proven = true;
                if heard != Heard::Created {
                    self.watched(job).not_executed();
                }
                false
            }
            Verdict::Deferred(deferral) => {
                self.watched(job).not_executed();
                matches!(
                    deferral,
                    Deferral::CredentialRefused { .. } | Deferral::NotAuthorized { .. }
                )
            }
            Verdict::Unclear(unclarity) => {
                if heard == Heard::Conflict {
                    self.watched(job).conflicting();
                }
                unclarity.cause == UnclearCause::NotTheBank
            }
        };
        if pause {
            self.process.paused_until = self.now + self.rng.magnitude(self.plan.settle_ms);
        }
        if matches!(verdict, Verdict::Accepted { .. }) && !self.ledger.control {
            self.process.control_due = Some((self.now, job));
        }
    }

    fn whether_bank_answers(&mut self, job: usize) -> bool {
        let answers = self.process.answers;
        let flight = self.flight_mut(job);
        let others = answers > flight.answers_seen;
        flight.answers_seen = answers;
        others || self.plan.other_traffic
    }

    fn hear(&mut self, job: usize, verdict: Verdict, bank_answers: bool) -> Result<(), Violation> {
        let spent_before = self.progress(job).map_or(0, Progress::spent);
        let refusal = match &verdict {
            Verdict::Refused(refusal) => Some(refusal.clone()),
            Verdict::Accepted { .. } | Verdict::Deferred(_) | Verdict::Unclear(_) => None,
        };
        let is_unclear = matches!(verdict, Verdict::Unclear(_));
        let flight = self.flight_mut(job);
        flight.unrecorded.attempts += 1;
        if refusal.is_some() {
            flight.unrecorded.refusal = refusal;
        }
        let generation = flight.generation;
        if let Some(spent) = self.watched(job).spent.get_mut(generation) {
            *spent += u32::from(is_unclear && bank_answers);
        }
        let at = self.moment();
        let action = self.advance(
            job,
            Event::Told {
                verdict,
                at,
                bank_answers: bank_answers || self.mutant == Mutant::SpendsOnSilence,
            },
        )?;
        let spent = self.progress(job).map_or(0, Progress::spent) - spent_before;
        self.flight_mut(job).unrecorded.spent += spent;
        self.act(job, action)
    }
}
