//! Dead letters, and what people make of them: run again once and only after proof, or put aside,
//! whatever happens meanwhile. On a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::{EntityId, Job};
use tanda::domain::key::Generation;
use tanda::domain::money::{Amount, Currency};
use tanda::domain::outcome::Status;
use tanda::domain::request::{EvidenceText, RequestId, Ruling, Wish};
use tanda::domain::schedule::AskTimes;
use tanda::engine::ports::{ListFault, Origin, Sight, Standing};
use tanda::ledger::MemoryLedger;

use crate::support::fuse::Fuse;
use crate::support::judge::{Does, job, let_pass};
use crate::support::queue::Office;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn id(name: &str) -> EntityId {
    EntityId::parse(name).expect("an entity_id")
}

fn generation(number: u32) -> Generation {
    Generation::new(number).expect("a generation")
}

fn redrive(name: &str, of: u32) -> Wish {
    Wish::Redrive {
        entity_id: id(name),
        generation: generation(of),
    }
}

/// An office in which the job `a` has been refused once.
async fn refused_once() -> Office {
    let office = Office::open(Arc::new(MemoryLedger::new()), 16).await;
    office.world.bank.script("a", &[Does::Refuse]);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    office.settle(MINUTE).await;
    worker.stop().await;
    assert_eq!(office.world.sink.statuses("a"), [Status::Rejected]);
    office
}

async fn is_open(office: &Office, request: RequestId) -> bool {
    let open = office.world.ledger.open_requests(None, 99).await;
    let open = open.expect("memory");
    open.iter().any(|open| open.id == request)
}

async fn answered(office: &Office, request: RequestId, most: Duration) {
    let began = tokio::time::Instant::now();
    while is_open(office, request).await {
        assert!(began.elapsed() < most, "not answered after {most:?}");
        let_pass(Duration::from_millis(100)).await;
    }
}

async fn standing(office: &Office, name: &str) -> (u32, Standing) {
    let sights = office.world.ledger.look(vec![id(name)]).await;
    match sights.expect("memory").pop().expect("a sight") {
        Sight::Known {
            generation,
            standing,
            ..
        } => (generation.get(), standing),
        sight @ (Sight::Unknown | Sight::Cancelled) => panic!("{sight:?}"),
    }
}

async fn ended(office: &Office, name: &str) -> (u32, Option<Status>) {
    match standing(office, name).await {
        (generation, Standing::Finished(outcome)) => (generation, Some(outcome.status)),
        (generation, _) => (generation, None),
    }
}

/// A dead letter of a job is the job, as the queue would have it again.
#[tokio::test(start_paused = true)]
async fn a_refused_job_goes_to_the_dead_letters_as_it_came() {
    let office = refused_once().await;
    let told = office.world.sink.all();
    let letter = told[0].letter.as_ref().expect("a dead letter");
    assert_eq!(letter.body.as_ref(), tanda::wire::job::encode(&job("a", 1)));
    assert_eq!(told[0].origin, Origin::Queue);
}

/// Asked for twice, and once more afterwards, a job runs again once, under a new key, after the list was
/// asked.
#[tokio::test(start_paused = true)]
async fn i1_a_job_is_run_again_once_however_often_it_is_asked_for() {
    let office = refused_once().await;
    let worker = office.start();
    let asked = [
        office.ask(redrive("a", 2)).await,
        office.ask(redrive("a", 2)).await,
    ];
    for request in asked {
        answered(&office, request, MINUTE).await;
    }
    let late = office.ask(redrive("a", 2)).await;
    answered(&office, late, MINUTE).await;
    let early = office.ask(redrive("a", 4)).await;
    answered(&office, early, MINUTE).await;
    office.settle(MINUTE).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::Succeeded)));
    let calls = office.world.bank.calls_for("a");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].key, calls[1].key);
    assert_eq!(office.world.bank.applied()["a"], 1);
    let told = office.world.sink.of("a");
    let told: Vec<_> = told
        .iter()
        .map(|told| (told.generation, told.seq))
        .collect();
    assert_eq!(told, [(Some(1), 1), (Some(2), 1)]);
}

/// Without a list that says so beyond doubt, nothing is run again, whoever asks; when it says so, it is.
#[tokio::test(start_paused = true)]
async fn i1_a_job_is_run_again_only_after_proof() {
    let office = refused_once().await;
    office.world.bank.fail_reading(ListFault::NotAuthorized);
    let worker = office.start();
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, MINUTE).await;
    assert_eq!(ended(&office, "a").await, (1, Some(Status::Rejected)));
    assert_eq!(office.world.bank.calls_for("a").len(), 1);
    office.world.bank.read_again();
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, MINUTE).await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::Succeeded)));
    worker.stop().await;
    assert_eq!(office.world.bank.applied()["a"], 1);
}

/// Begun, deferred, and taken back in a long pause, it is proven anew before it goes on. Where that cannot be
/// done it has an end, for no queue brings it again; and it can be run once more.
#[tokio::test(start_paused = true)]
async fn i13_what_was_begun_again_and_cannot_be_proven_anew_has_an_end() {
    let office = refused_once().await;
    let bank = &office.world.bank;
    bank.otherwise(Does::RefuseCredential);
    let worker = office.start();
    let request = office.ask(redrive("a", 2)).await;
    while bank.calls_for("a").len() < 2 {
        let_pass(Duration::from_millis(1)).await;
    }
    bank.fail_reading(ListFault::NotAuthorized);
    answered(&office, request, HOUR).await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::NotSent)));
    bank.read_again();
    bank.otherwise(Does::Apply);
    let request = office.ask(redrive("a", 3)).await;
    answered(&office, request, HOUR).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (3, Some(Status::Succeeded)));
    assert_eq!(bank.applied()["a"], 1);
}

/// What the list shows moved after all: that is told, and nothing is sent.
#[tokio::test(start_paused = true)]
async fn i1_what_the_list_shows_is_not_run_again_from_the_dead_letters() {
    let office = refused_once().await;
    office.world.bank.movement(&job("a", 1));
    let worker = office.start();
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, MINUTE).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::Succeeded)));
    assert_eq!(office.world.bank.calls_for("a").len(), 1);
}

/// What is in doubt is asked about, and never sent because somebody wants it run again.
#[tokio::test(start_paused = true)]
async fn i5_what_is_in_doubt_is_only_asked_about() {
    let mut office = Office::open(Arc::new(MemoryLedger::new()), 16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    for _ in 0..5 {
        let request = office.ask(redrive("a", 2)).await;
        answered(&office, request, MINUTE).await;
    }
    assert_eq!(office.world.bank.calls_for("a").len(), 1);
    assert_eq!(ended(&office, "a").await, (1, None));
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
}

/// The card of a job that is to be run again is shut by another in doubt: it waits in the ledger, and is
/// proven at its turn.
#[tokio::test(start_paused = true)]
async fn i7_a_job_run_again_waits_for_its_card_and_is_proven_at_its_turn() {
    let mut office = refused_once().await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("doubt", &[Does::LoseRequest]);
    office.queue.put(&[job("doubt", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, MINUTE).await;
    assert!(matches!(
        standing(&office, "a").await,
        (2, Standing::Held { .. })
    ));
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::Succeeded)));
    assert_eq!(office.world.bank.applied_in_order(), ["doubt", "a"]);
    let told = office.world.sink.of("a");
    let told: Vec<_> = told.iter().map(|it| (it.status.as_str(), it.seq)).collect();
    assert_eq!(told, [("rejected", 1), ("waiting", 1), ("succeeded", 2)]);
}

/// At its turn the list does not say that nothing moved, because it has an equal row without a name:
/// nothing is sent, the list is not read without end, and the card goes on.
#[tokio::test(start_paused = true)]
async fn i1_a_held_job_that_is_not_proven_at_its_turn_neither_spins_nor_holds_its_card() {
    let mut office = refused_once().await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("doubt", &[Does::LoseRequest]);
    office.queue.put(&[job("doubt", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, MINUTE).await;
    office.queue.put(&[job("behind", 1)]);
    while ended(&office, "doubt").await.1.is_none() {
        office.world.bank.forget_movements_without_name();
        let_pass(Duration::from_millis(1)).await;
        office.world.bank.movement_without_name(&job("a", 1));
    }
    let heard = office.world.bank.heard();
    let_pass(3 * HOUR).await;
    let heard = office.world.bank.heard() - heard;
    assert!(heard < 200, "the bank heard {heard} in three hours");
    assert_eq!(office.world.bank.calls_for("a").len(), 1);
    let behind = office.world.sink.statuses("behind");
    assert_eq!(behind, [Status::Waiting, Status::Succeeded]);
    office.settle(DAY).await;
    worker.stop().await;
    let told = office.world.sink.of("a");
    let told: Vec<_> = told.iter().map(|it| (it.status.as_str(), it.seq)).collect();
    assert_eq!(
        told,
        [("rejected", 1), ("waiting", 1), ("not_sent", 2)],
        "I4"
    );
}

/// The process dies at every step of running a job again: the request stays open until it was done, the
/// money moves once, and never without proof.
#[tokio::test(start_paused = true)]
async fn i1_a_kill_at_every_step_of_running_a_dead_letter_again_pays_once() {
    for (does, ends) in [
        (Does::Apply, Status::Succeeded),
        (Does::ApplyAndLoseReply, Status::Succeeded),
        (Does::LoseRequest, Status::Succeeded),
        (Does::NoConnection, Status::Succeeded),
        (Does::Refuse, Status::Rejected),
    ] {
        for kill_at in 1.. {
            let mut office = refused_once().await;
            office.world.settings.rules.resend_window = Duration::ZERO;
            let times = if does == Does::Refuse { 9 } else { 1 };
            office.world.bank.script("a", &vec![does; times]);
            let request = office.ask(redrive("a", 2)).await;
            let fuse = Fuse::new(kill_at);
            let worker = office.start_with(&fuse);
            let killed = tokio::select! {
                biased;
                () = fuse.blown() => true,
                () = async {
                    answered(&office, request, HOUR).await;
                    office.settle(HOUR).await;
                } => false,
            };
            worker.kill().await;
            let told = format!("{does:?}, killed at {kill_at}");
            let worker = office.start();
            answered(&office, request, HOUR).await;
            office.settle_or_tell(HOUR, &told).await;
            worker.stop().await;
            assert_eq!(ended(&office, "a").await, (2, Some(ends)), "{told}");
            let applied = office.world.bank.applied();
            let times = applied.get("a").copied().unwrap_or_default();
            assert_eq!(times, usize::from(ends == Status::Succeeded), "I1 {told}");
            let finals = office.world.sink.of("a");
            let finals = finals
                .iter()
                .filter(|it| it.is_final && it.generation == Some(2));
            assert_eq!(finals.count(), 1, "I4 {told}");
            if !killed {
                assert!(kill_at > 5, "only {kill_at} steps {told}");
                break;
            }
        }
    }
}

/// A later generation that panics is poison as the first was, and is told as itself.
#[tokio::test(start_paused = true)]
async fn f19_a_job_that_panics_when_it_is_run_again_ends_as_itself() {
    let mut office = refused_once().await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::Panic; 99]);
    let worker = office.start();
    let request = office.ask(redrive("a", 2)).await;
    answered(&office, request, HOUR).await;
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::NotSent)));
    assert!(office.world.bank.calls_for("a").len() <= 1 + 3);
}

/// A job that came into the ledger's own hands when it was over, or that nobody knows, is not run again.
#[tokio::test(start_paused = true)]
async fn what_is_paid_or_unknown_is_not_run_again() {
    let office = refused_once().await;
    office.queue.put(&[job("paid", 2)]);
    let worker = office.start();
    office.settle(MINUTE).await;
    for wish in [redrive("paid", 2), redrive("unknown", 2), redrive("a", 3)] {
        let request = office.ask(wish).await;
        answered(&office, request, MINUTE).await;
    }
    let_pass(MINUTE).await;
    worker.stop().await;
    assert_eq!(office.world.bank.calls().len(), 2);
}

/// What ended without moving money is put aside; what is in doubt is not.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_put_aside_and_a_job_in_doubt_is_not() {
    let mut office = refused_once().await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("doubt", &[Does::LoseRequest]);
    office.queue.put(&[job("doubt", 2)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    for name in ["a", "doubt"] {
        let told = office.world.sink.all();
        let of = |told: &&tanda::engine::ports::StoredOutcome| told.entity_id == Some(id(name));
        let event_id = told.iter().find(of).expect("an outcome").event_id;
        let request = office
            .ask(Wish::Discard {
                event_id,
                entity_id: Some(id(name)),
                evidence: EvidenceText::parse("paid by hand").expect("words"),
            })
            .await;
        answered(&office, request, MINUTE).await;
    }
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (1, Some(Status::Rejected)));
    assert_eq!(ended(&office, "doubt").await, (1, Some(Status::Succeeded)));
}

/// A job whose content was corrected by a file, and refused again, is run again with what it said last.
#[tokio::test(start_paused = true)]
async fn i6_a_job_is_run_again_with_what_its_newest_generation_said() {
    let mut office = refused_once().await;
    let cop = Currency::parse("COP").expect("a code");
    let corrected = Job {
        amount: Amount::new(7_777, cop).expect("an amount"),
        ..job("a", 1)
    };
    office.world.bank.script("a", &[Does::Refuse]);
    let settings = office.world.settings.clone();
    office.world.again = Some(tanda::domain::request::Person::parse("Ana").expect("a name"));
    office.world.settings.ending = tanda::engine::settings::Ending::WhenDry;
    office.world.settings.holding = None;
    office.world.run(std::slice::from_ref(&corrected)).await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::Rejected)));
    office.world.settings = settings;
    let worker = office.start();
    let request = office.ask(redrive("a", 3)).await;
    answered(&office, request, MINUTE).await;
    office.settle(MINUTE).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await, (3, Some(Status::Succeeded)));
    let last = office.world.sink.of("a").pop().expect("an outcome");
    assert_eq!(last.amount.expect("an amount").amount, 7_777);
}

/// A person's word that nothing moved does not become proof by a generation that was never sent: the
/// strictest proof is asked for until one was.
#[tokio::test(start_paused = true)]
async fn i1_a_persons_word_stays_a_persons_word_through_generations_that_were_never_sent() {
    let mut office = Office::open_unproven(Arc::new(MemoryLedger::new()), 16);
    office.world.settings.rules.resend_window = Duration::ZERO;
    for name in ["a", "doubt"] {
        office.world.bank.script(name, &[Does::LoseRequest]);
    }
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(310)).await;
    let ruled = Wish::Settle {
        entity_id: id("a"),
        ruling: Ruling::NotSent,
        evidence: EvidenceText::parse("the bank's letter").expect("words"),
    };
    let request = office.ask(ruled).await;
    answered(&office, request, MINUTE).await;
    assert_eq!(ended(&office, "a").await, (1, Some(Status::NotSent)));
    // The second generation waits behind another job, and is cancelled there.
    office.queue.put(&[job("doubt", 1)]);
    let_pass(Duration::from_secs(5)).await;
    for wish in [redrive("a", 2), Wish::Cancel(id("a"))] {
        let request = office.ask(wish).await;
        answered(&office, request, MINUTE).await;
    }
    let_pass(310 * Duration::from_secs(1)).await;
    let ruled = Wish::Settle {
        entity_id: id("doubt"),
        ruling: Ruling::NotSent,
        evidence: EvidenceText::parse("the bank's letter").expect("words"),
    };
    let request = office.ask(ruled).await;
    answered(&office, request, MINUTE).await;
    let_pass(MINUTE).await;
    assert_eq!(ended(&office, "a").await, (2, Some(Status::NotSent)));
    let request = office.ask(redrive("a", 3)).await;
    answered(&office, request, MINUTE).await;
    let_pass(MINUTE).await;
    worker.stop().await;
    assert_eq!(ended(&office, "a").await.0, 2, "declined");
    assert_eq!(office.world.bank.calls_for("a").len(), 1, "not sent again");
}

/// A person is on record as called only once the dead letter that tells them is confirmed: a worker that
/// stops before leaves it to the next.
#[tokio::test(start_paused = true)]
async fn a_person_is_called_only_once_the_dead_letter_is_confirmed() {
    let mut office = Office::open(Arc::new(MemoryLedger::new()), 16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.settings.rules.asks = AskTimes::new(Duration::from_secs(10));
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.world.bank.fail_reading(ListFault::NotAuthorized);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    let_pass(MINUTE).await;
    office.world.sink.set_full(true);
    let_pass(2 * HOUR).await;
    worker.stop().await;
    let person_needed = async || {
        let open = office.world.ledger.unsettled(None, 9).await;
        open.expect("memory").iter().any(|open| open.person_needed)
    };
    assert!(!person_needed().await, "nobody was told");
    office.world.sink.set_full(false);
    let worker = office.start();
    let_pass(2 * HOUR).await;
    assert!(person_needed().await);
    worker.stop().await;
    let told = office.world.sink.all();
    let letters = told.iter().filter(|it| it.letter.is_some());
    assert_eq!(letters.count(), 1);
}
