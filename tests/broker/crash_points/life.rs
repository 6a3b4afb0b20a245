//! The life of one ledger and one queue: workers that crash where they are told to, one after the other,
//! and one at the end that does not.
//!
//! *What it promises.* Each worker is the real program, on the real ledger and a real broker. A crash is
//! made once its point is reached; whether it was is told.
//!
//! *What it refuses to know.* Which crashes are worth it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tanda::engine::doors::{Kind as DoorKind, Place, Point};
use tokio::task::block_in_place;

use super::book::{Book, Kind, Sent, Told};
use super::scene::{FORGETFUL, MISSING, Scene, Size, first};
use crate::support::node::{shared, url_at};
use crate::support::program::exits;
use crate::support::proxy::Proxy;
use crate::support::queues::Client;
use crate::support::stage::Stage;

/// How long a worker may take to reach its point, or to do all there is.
const PLAY_MOST: Duration = Duration::from_secs(20);
/// How long a worker that is stopped, or that saw its ledger fail, may take to end.
const END_MOST: Duration = Duration::from_secs(30);
/// How long everything may take to be over once nothing crashes any more.
const SETTLE_MOST: Duration = Duration::from_secs(60);
/// How long a stop waits for the calls that it is to come into.
const STOPS_AFTER: Duration = Duration::from_secs(3);
/// A survey waits long enough for some probes.
const SURVEY_STOPS_AFTER: Duration = Duration::from_secs(5);
/// After how long people ask once more for what has not come.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How long a busy broker may take to show what was published to it.
const DURABLE_MOST: Duration = Duration::from_secs(5);
/// How often something is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// How often the ledger is looked at, which is a process of its own each time.
const LOOK_AT_LEDGER_EVERY: Duration = Duration::from_millis(500);
/// What is slow enough to be in the middle of for as long as the crash in the middle waits.
const SLOW: Duration = Duration::from_millis(400);
/// Workers started to take what an earlier one was told too late to take: a lost answer comes again only
/// once the worker that lost it is gone.
const SETTLERS_MOST: usize = 5;
/// What a worker says that finds the ledger in use.
const KEPT_OUT: &str = "another process of tanda is using the ledger";
/// What `abort` ends a process with.
const SIGABRT: i32 = 6;

/// One crash: where, the how manieth time it is reached, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crash {
    pub(super) scene: Scene,
    pub(super) point: Point,
    pub(super) hit: u64,
    pub(super) how: How,
}

/// What a crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Abort,
    Error,
}

impl How {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            point, hit, how, ..
        } = self;
        write!(f, "{point}:{hit}={}", how.as_str())
    }
}

/// The door that is reached only where a job's task panics.
const PANICS: &str = "ledger.note_panic";

impl Crash {
    /// What the worker is told.
    fn orders(&self) -> String {
        if self.point.door.name == PANICS {
            return format!("bank.apply.before:1-24=panic,{self}");
        }
        self.to_string()
    }

    /// Whether the process ends by it, with which code.
    fn exit(&self) -> Option<i32> {
        let is_ledger = self.point.door.name.starts_with("ledger.");
        let ends = is_ledger || self.point.door.name == "source.next";
        (self.how == How::Error && ends).then_some(8)
    }

    fn is_amid(&self, kind: DoorKind) -> bool {
        self.point.place == Place::During && self.point.door.kind == kind
    }
}

/// A worker that may crash.
struct Worker {
    child: Child,
    says: PathBuf,
}

impl Worker {
    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    async fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(
                began.elapsed() < END_MOST,
                "it does not end: {}",
                self.said()
            );
            looks.tick().await;
        }
    }

    /// Ends once it takes jobs: before that, nobody listens to signals.
    async fn until_up(&mut self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while self.has_ended().is_none() && !self.said().contains("taking jobs from") {
            looks.tick().await;
        }
    }

    /// Stops it; how it ends.
    async fn stop(&mut self) -> ExitStatus {
        self.until_up().await;
        if let Some(status) = self.has_ended() {
            return status;
        }
        crate::support::program::send(&self.child, "-TERM");
        self.end().await
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.says).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What came of a life.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Everything that is wrong.
    pub(super) faults: Vec<String>,
    /// Calls that the bank answered from its memory of keys.
    pub(super) replays: u64,
    /// Aborts of workers that had sent something again.
    pub(super) aborts_amid_resends: usize,
    /// Losses of the ledger in the middle of everything.
    pub(super) losses_amid: usize,
}

/// The life of one ledger and one queue.
pub(super) struct Life {
    stage: Stage,
    client: Client,
    proxy: Option<Proxy>,
    scene: Scene,
    size: Size,
    book: Book,
    batches: usize,
    /// What is put on the queue only once the bank is well.
    kept_back: Vec<Sent>,
    /// How many messages there were when everything was over last.
    over: usize,
    /// Whether the last worker was aborted, and nothing has been settled since.
    is_amid: bool,
    aborts_amid_resends: usize,
    losses_amid: usize,
    /// What happened, for whoever reads of a fault.
    story: Vec<String>,
}

impl Life {
    pub(super) async fn begin(scene: Scene, size: Size) -> Self {
        let mut stage = block_in_place(|| Stage::new(&shared().url(), ""));
        for (name, value) in [
            ("TANDA_ENGINE__RESEND_WINDOW_S", "0"),
            ("TANDA_ENGINE__HOLD_MAX_S", "1"),
            ("TANDA_ENGINE__FENCE", "until_settled"),
            ("TANDA_ENGINE__REFUSALS_IN_A_ROW", "0"),
            ("TANDA_BANK__REQUEST_TIMEOUT_S", "3"),
        ]
        .iter()
        .chain(scene.settings())
        {
            stage.desk.set(name, value);
        }
        block_in_place(|| stage.ends(0, &["topology", "--declare"]));
        let client = stage.client().await;
        let mut life = Self {
            stage,
            client,
            proxy: None,
            scene,
            size,
            book: Book::default(),
            batches: 0,
            kept_back: Vec::new(),
            over: 0,
            is_amid: false,
            aborts_amid_resends: 0,
            losses_amid: 0,
            story: vec![format!("{scene:?}")],
        };
        if matches!(scene, Scene::People | Scene::Loss) {
            life.prove_the_list().await;
        }
        if scene == Scene::Loss {
            life.copy_ledger();
        }
        life
    }

    /// Pays one job, and waits until the bank's list has shown it: otherwise no absence would prove
    /// anything.
    async fn prove_the_list(&mut self) {
        let first = first();
        self.stage
            .publish(&self.client, std::slice::from_ref(&first.body))
            .await;
        self.book.sent.push(first);
        let mut worker = self.start(999, None);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let began = Instant::now();
        loop {
            let status = self.status();
            if status
                .pointer("/positive_control/entity_id")
                .is_some_and(Value::is_string)
            {
                break;
            }
            assert!(began.elapsed() < SETTLE_MOST, "{}", worker.said());
            looks.tick().await;
        }
        assert_eq!(worker.stop().await.code(), Some(143), "{}", worker.said());
    }

    fn status(&self) -> Value {
        let status = block_in_place(|| self.stage.desk.tanda(&["status", "--json"]));
        serde_json::from_slice(&status.stdout).expect("JSON")
    }

    fn log(&self, number: usize) -> PathBuf {
        self.stage.desk.path(&format!("points-{number}"))
    }

    /// How often a worker reached this point.
    fn hits(&self, number: usize, point: Point) -> u64 {
        let name = point.to_string();
        let log = std::fs::read_to_string(self.log(number)).unwrap_or_default();
        let hits = log.lines().filter(|line| *line == name).count();
        u64::try_from(hits).expect("not so many")
    }

    /// Everything that a worker reached, in its order.
    pub(super) fn reached(&self, number: usize) -> Vec<Point> {
        let log = std::fs::read_to_string(self.log(number)).unwrap_or_default();
        log.lines().filter_map(Point::parse).collect()
    }

    /// Puts the next batch on the queue.
    async fn put(&mut self) {
        if self.scene == Scene::Loss {
            if self.batches == 0 {
                self.put_next().await;
            }
            self.lose().await;
        }
        self.put_next().await;
    }

    async fn put_next(&mut self) {
        let mut batch = self.scene.batch(self.batches, self.size);
        if self.scene == Scene::People {
            self.prepare_people(&batch);
        }
        // Put in again, it would be paid: nothing is known of what a person said before a loss.
        batch.retain(|sent| sent.kind != Kind::Copy || !self.book.ruled.contains(&sent.entity_id));
        let (now, later): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|sent| self.scene != Scene::People || sent.kind == Kind::Usurped);
        self.put_these(now).await;
        self.kept_back.extend(later);
        self.batches += 1;
    }

    async fn put_these(&mut self, all: Vec<Sent>) {
        let bodies: Vec<_> = all.iter().map(|sent| sent.body.clone()).collect();
        self.stage.publish(&self.client, &bodies).await;
        self.book.sent.extend(all);
    }

    /// The ledger forgets at least the last batch, and a person accepts that: after an abort in the middle
    /// of everything, else once all is over.
    async fn lose(&mut self) {
        let was_open = self.book.sent.iter().skip(self.over);
        let was_open: Vec<_> = was_open
            .filter(|sent| sent.kind == Kind::Good)
            .cloned()
            .collect();
        // Nothing is known of what a person said before a loss: what they ruled must be over by then.
        let is_ruled = |sent: &Sent| self.book.ruled.contains(&sent.entity_id);
        let is_amid = self.is_amid && !was_open.iter().any(is_ruled);
        if !is_amid {
            self.settle().await;
        }
        self.look().await;
        let ledger = self.stage.desk.path("ledger.db");
        for remains in ["-wal", "-shm"] {
            let remains = self.stage.desk.path(&format!("ledger.db{remains}"));
            if is_amid {
                std::fs::remove_file(remains).ok();
            } else {
                assert!(!remains.exists(), "a worker that was stopped leaves none");
            }
        }
        std::fs::remove_file(&ledger).expect("the ledger");
        let is_deleted = self.book.losses.is_multiple_of(2);
        if !is_deleted {
            std::fs::copy(self.older_ledger(), &ledger).expect("a copy");
        }
        let accept = ["ledger", "accept-loss", "--by", "Ana", "--yes"];
        let accepted = block_in_place(|| self.stage.desk.tanda(&accept));
        if !is_deleted && forgot_nothing(&accepted) {
            // Nobody was told of a commit since the copy was made: it is as good as what it replaces, or the
            // books show that it is not.
            let what =
                "an older copy of the ledger that has forgotten nothing was put in its place";
            self.story.push(what.to_owned());
            return;
        }
        exits(&accepted, 0);
        self.copy_ledger();
        self.book.losses += 1;
        let what = if is_deleted {
            "the ledger was deleted"
        } else {
            "an older copy of the ledger was put in its place"
        };
        self.story.push(if is_amid {
            format!("{what}, in the middle")
        } else {
            what.to_owned()
        });
        if is_amid {
            self.losses_amid += 1;
            let cards = was_open.iter().map(|sent| sent.card.clone());
            self.book.unordered.extend(cards);
            let once_more = was_open.into_iter().map(|sent| Sent {
                kind: Kind::Copy,
                ..sent
            });
            self.put_these(once_more.collect()).await;
        }
    }

    /// Keeps a copy of the ledger, which nobody has open, for the next loss but one.
    fn copy_ledger(&self) {
        let ledger = self.stage.desk.path("ledger.db");
        std::fs::copy(ledger, self.older_ledger()).expect("a copy");
    }

    fn older_ledger(&self) -> PathBuf {
        self.stage.desk.path("older.db")
    }

    /// Cancels what has not come yet, and moves money that tanda knows nothing of.
    fn prepare_people(&self, batch: &[Sent]) {
        let of = |kind| batch.iter().filter(move |sent| sent.kind == kind);
        let ids: Vec<_> = of(Kind::Cancelled)
            .map(|sent| sent.entity_id.as_str())
            .collect();
        let cancel = [&["cancel", "--by", "Ana"][..], &ids].concat();
        block_in_place(|| {
            self.stage.ends(0, &cancel);
            self.stage.bank.set_faults(FORGETFUL);
            for sent in of(Kind::Usurped) {
                self.move_elsewhere(&sent.card, &sent.entity_id, 7);
            }
            for sent in of(Kind::Refused) {
                let other = format!("{}-elsewhere", sent.entity_id);
                self.move_elsewhere(&sent.card, &other, 7);
            }
        });
    }

    /// Somebody else moves money under this name.
    fn move_elsewhere(&self, card: &str, entity_id: &str, minor: u64) {
        let body = format!(
            r#"{{"amount":{{"amount":{minor},"currency":"COP"}},"entity_id":"{entity_id}","operation":"topup"}}"#
        );
        let address = self.stage.bank.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the bank answers");
        let request = format!(
            "POST /v1/cards/{card}/prepaid/operations HTTP/1.0\r\nHost: localhost\r\n\
             Authorization: Bearer simulated\r\nContent-Type: application/json\r\n\
             X-Idempotency-Key: {entity_id}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .expect("the bank reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the bank answers");
        let status = answer.split_whitespace().nth(1);
        assert!(status.is_some_and(|it| it.starts_with('2')), "{answer}");
    }

    fn start(&self, number: usize, orders: Option<&str>) -> Worker {
        let says = self.stage.desk.path(&format!("says-{number}"));
        let mut command = self.stage.desk.command(&["worker"]);
        if let Some(orders) = orders {
            command.env("TANDA_CRASH_LOG", self.log(number));
            if !orders.is_empty() {
                command.env("TANDA_CRASH_AT", orders);
            }
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(File::create(&says).expect("a file"))
            .spawn()
            .expect("the program starts");
        Worker { child, says }
    }

    /// Lets a worker run until it reaches this point and crashes, or has done all there is; whether it
    /// was reached, and was what it is called. `stays` is whether one that survives it goes on until all is done.
    pub(super) async fn crash(&mut self, crash: &Crash, stays: bool) -> bool {
        self.put().await;
        let number = self.batches;
        self.set_faults(Some(crash)).await;
        let heard_before = block_in_place(|| self.stage.bank.operations_heard());
        let mut worker = self.start(number, Some(&crash.orders()));
        if crash.is_amid(DoorKind::Publish) {
            self.slow_down_confirms(&mut worker).await;
        }
        let ended = self.play(&mut worker, number, Some((crash, stays))).await;
        let status = if let Some(status) = ended {
            status
        } else {
            worker.stop().await
        };
        if let Some(proxy) = &self.proxy {
            proxy.delay(Duration::ZERO);
        }
        let was_reached = self.hits(number, crash.point) >= crash.hit;
        let is_middle =
            was_reached && crash.how == How::Abort && crash.point.place == Place::During;
        if is_middle && crash.is_amid(DoorKind::Send) {
            self.must_be_called(crash, number, heard_before);
        }
        let was_made = if is_middle && crash.is_amid(DoorKind::Publish) {
            self.is_published_unknown().await
        } else {
            was_reached
        };
        let expected = match (was_reached, crash.how, crash.exit()) {
            (true, How::Abort, _) => (None, Some(SIGABRT)),
            (true, How::Error, Some(code)) => (Some(code), None),
            (true, How::Error, None) | (false, ..) => (Some(143), None),
        };
        assert_eq!(
            (status.code(), status.signal()),
            expected,
            "{crash}, reached: {was_reached}: {}",
            worker.said()
        );
        self.story.push(format!("{crash}, made: {was_made}"));
        self.is_amid = was_reached && crash.how == How::Abort;
        let [begun, called] = ["ledger.begin.before", "bank.apply.before"]
            .map(|name| self.hits(number, Point::parse(name).expect("a point")));
        if self.is_amid && self.scene == Scene::Resends && called > begun {
            self.aborts_amid_resends += 1;
        }
        was_made
    }

    /// C4: that what was begun has left the worker.
    fn must_be_called(&self, crash: &Crash, number: usize, heard_before: u64) {
        let heard = block_in_place(|| self.stage.bank.operations_heard()) - heard_before;
        let answered = self.hits(number, answered());
        assert!(
            heard > answered,
            "C4: {crash}: the bank heard {heard} calls and {answered} were answered: none was under way"
        );
    }

    /// C7: whether something is published that the ledger does not know of. A broker that had not read it
    /// when the worker was gone has lost it.
    async fn is_published_unknown(&mut self) -> bool {
        let status = self.status();
        let unpublished = status.pointer("/unpublished_outcomes");
        let unpublished = unpublished.and_then(Value::as_array).into_iter().flatten();
        let unpublished: BTreeSet<_> = unpublished
            .filter_map(|it| it.get("event_id")?.as_str())
            .collect();
        let is_unknown = |told: &Told| unpublished.contains(told.event_id.as_str());
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        self.look().await;
        // A queue shows what has come only once it is durable.
        while !self.book.results.iter().any(is_unknown) {
            if began.elapsed() > DURABLE_MOST {
                return false;
            }
            looks.tick().await;
            self.look().await;
        }
        true
    }

    /// Lets a worker run with nothing in its way; what it reached.
    pub(super) async fn survey(&mut self) -> Vec<Point> {
        self.put().await;
        let number = self.batches;
        self.set_faults(None).await;
        let mut worker = self.start(number, Some(""));
        let ended = self.play(&mut worker, number, None).await;
        assert!(ended.is_none(), "it ended by itself: {}", worker.said());
        let status = worker.stop().await;
        assert_eq!(status.code(), Some(143), "{}", worker.said());
        self.reached(number)
    }

    async fn set_faults(&mut self, crash: Option<&Crash>) {
        let mut faults = vec![format!("{}{}", self.scene.memory(), self.scene.faults())];
        if crash.is_some_and(|crash| crash.is_amid(DoorKind::Send)) {
            faults.push(format!("slow=100%,slow_ms={}", SLOW.as_millis()));
        }
        let faults = faults.join(",");
        block_in_place(|| self.stage.bank.set_faults(&faults));
        if crash.is_some_and(|crash| crash.is_amid(DoorKind::Publish)) && self.proxy.is_none() {
            let proxy = Proxy::before(shared().port()).await;
            let url = url_at(proxy.port());
            self.stage.desk.set("TANDA_AMQP__URL", &url);
            self.proxy = Some(proxy);
        }
    }

    /// From its first message on, the broker's answers come late.
    async fn slow_down_confirms(&self, worker: &mut Worker) {
        worker.until_up().await;
        if let Some(proxy) = &self.proxy {
            proxy.delay(SLOW);
        }
    }

    async fn look(&mut self) {
        let names = &self.stage.names;
        let results = self.client.drain(&names.results_queue).await;
        self.book.note_results(&results);
        self.book
            .letters
            .extend(self.client.drain(&names.dead_queue).await);
    }

    /// Does what the scene has to do beside the worker, until there is nothing more to do, the order is
    /// carried out, or the worker has ended.
    async fn play(
        &mut self,
        worker: &mut Worker,
        number: usize,
        crash: Option<(&Crash, bool)>,
    ) -> Option<ExitStatus> {
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut people = People::default();
        loop {
            if let Some(status) = worker.has_ended() {
                return Some(status);
            }
            self.look().await;
            let is_done = match self.scene {
                Scene::Traffic | Scene::Resends => self.is_over().await,
                Scene::Stopping => self.has_begun_enough(crash, number, began.elapsed()),
                Scene::People => self.help(&mut people).await,
                Scene::Loss => self.rule(&mut people).await,
            };
            let is_carried_out = crash.is_some_and(|(crash, stays)| {
                !stays
                    && crash.how == How::Error
                    && crash.exit().is_none()
                    && self.hits(number, crash.point) >= crash.hit
            });
            if is_done || is_carried_out || began.elapsed() > PLAY_MOST {
                return None;
            }
            looks.tick().await;
        }
    }

    async fn is_over(&self) -> bool {
        self.book.is_missing().is_empty() && self.waiting().await == 0
    }

    /// How many messages wait in the queue of jobs.
    async fn waiting(&self) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = self.stage.names.jobs_queue.as_str();
        let declared =
            self.client
                .channel
                .queue_declare(queue.into(), options, FieldTable::default());
        declared.await.expect("the queue is there").message_count()
    }

    /// Whether the bank has answered enough calls for a stop to be worth it. Where it is probed, that is
    /// waited for.
    fn has_begun_enough(
        &self,
        crash: Option<(&Crash, bool)>,
        number: usize,
        since: Duration,
    ) -> bool {
        let wanted = match self.size {
            Size::Small => 1,
            Size::Large => 20,
        };
        let (point, wanted) = match crash {
            Some((crash, _)) if crash.point.door.name == "bank.probe" => (crash.point, crash.hit),
            Some(_) => (answered(), wanted),
            None => return since > SURVEY_STOPS_AFTER,
        };
        self.hits(number, point) >= wanted || since > STOPS_AFTER
    }

    /// What people do as outcomes come; whether they have done all.
    async fn help(&mut self, people: &mut People) -> bool {
        let usurped: Vec<_> = self.book.of_kind(Kind::Usurped).cloned().collect();
        let needs_person = |sent: &Sent| {
            let letters = &self.book.letters;
            letters.iter().any(|it| it.entity_id() == sent.entity_id)
        };
        if !people.bank_is_well {
            if !usurped.iter().all(needs_person) {
                return false;
            }
            block_in_place(|| self.stage.bank.set_faults(FORGETFUL));
            people.bank_is_well = true;
            let kept_back = std::mem::take(&mut self.kept_back);
            self.put_these(kept_back).await;
        }
        let finals = self.book.finals();
        let is_final =
            |sent: &Sent, generation| finals.contains_key(&(sent.entity_id.clone(), generation));
        let refused: Vec<_> = self.book.of_kind(Kind::Refused).cloned().collect();
        if !refused.iter().all(|sent| is_final(sent, 1)) {
            return false;
        }
        if people
            .asked_at
            .is_none_or(|at| at.elapsed() > ASK_AGAIN_AFTER)
        {
            let open = |all: &[Sent], generation| -> Vec<_> {
                let all = all.iter().filter(|sent| !is_final(sent, generation));
                all.cloned().collect()
            };
            let (usurped, refused) = (open(&usurped, 1), open(&refused, 2));
            block_in_place(|| self.ask_as_people(&usurped, &refused));
            people.asked_at = Some(Instant::now());
        }
        let all = self.book.sent.iter();
        all.clone().all(|sent| is_final(sent, 1))
            && refused.iter().all(|sent| is_final(sent, 2))
            && self.waiting().await == 0
    }

    /// Says that nothing moved of jobs that were delivered before the loss and are not listed; whether
    /// everything is over. Where the list shows one after all, it has the last word.
    async fn rule(&mut self, people: &mut People) -> bool {
        let is_time = |at: &Instant| at.elapsed() > LOOK_AT_LEDGER_EVERY;
        if !people.asked_at.as_ref().is_none_or(is_time) {
            return false;
        }
        let status = self.status();
        people.asked_at = Some(Instant::now());
        let jobs = status.pointer("/jobs").and_then(Value::as_array);
        let waits = |job: &&Value| job["reason"] == "ledger_lost_after_delivery";
        let waiting = jobs.into_iter().flatten().filter(waits);
        let ids: BTreeSet<_> = waiting
            .filter_map(|job| job["entity_id"].as_str())
            .collect();
        block_in_place(|| self.settle_all(&ids, "not_sent"));
        self.book.ruled.extend(ids.into_iter().map(str::to_owned));
        let is_none = |pointer| status.pointer(pointer) == Some(&0.into());
        ["/in_doubt/count", "/begun/count", "/held/count"]
            .into_iter()
            .all(is_none)
            && self.is_over().await
    }

    /// A person settles these, all at once. A command whose owner dies in the middle leaves its wish on
    /// record.
    fn settle_all(&self, ids: &BTreeSet<&str>, ruling: &str) {
        let evidence = ["--by", "Ana", "--evidence", "the bank's paper", "--yes"];
        let each = ids.iter().map(|entity_id| {
            let settle = ["settle", entity_id, "--as", ruling];
            let mut command = self.stage.desk.command(&[&settle[..], &evidence].concat());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        for status in run_at_once(each) {
            assert_ne!(status.code(), Some(2), "it is called as it is meant to be");
        }
    }

    /// Has jobs run again whose cards have enough now, and says what became of those in doubt.
    fn ask_as_people(&self, usurped: &[Sent], refused: &[Sent]) {
        for sent in refused {
            let other = format!("{}-enough", sent.entity_id);
            self.move_elsewhere(&sent.card, &other, MISSING);
        }
        let ids: Vec<_> = refused.iter().map(|sent| sent.entity_id.as_str()).collect();
        // Some may have been asked for before, and are not counted then.
        let is_asked = self.redrive(&ids).status().expect("the program starts");
        if !is_asked.success() {
            let each = ids.iter().map(|id| self.redrive(&[id]));
            let _statuses = run_at_once(each);
        }
        let ids: Vec<_> = usurped.iter().map(|sent| sent.entity_id.as_str()).collect();
        if !ids.is_empty() {
            let reconcile = [&["reconcile", "--by", "Ana"][..], &ids].concat();
            self.stage.desk.tanda(&reconcile);
        }
        self.settle_all(&ids.into_iter().collect(), "succeeded");
    }

    fn redrive(&self, ids: &[&str]) -> Command {
        let count = ids.len().to_string();
        let total = format!("withdrawal:COP:{}.00", 1_500_000 * ids.len());
        let agreed = ["--yes", "--expect-count", &count, "--expect-total", &total];
        let redrive = ["dead", "redrive", "--by", "Ana"];
        let mut command = self
            .stage
            .desk
            .command(&[&redrive[..], ids, &agreed].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Lets workers run that do not crash, until all is over.
    pub(super) async fn settle(&mut self) {
        let faults = match self.scene {
            Scene::Traffic | Scene::Resends | Scene::Stopping | Scene::Loss => "",
            // What somebody else has moved under its name must not move once more.
            Scene::People => self.scene.faults(),
        };
        let faults = format!("{}{faults}", self.scene.memory());
        block_in_place(|| self.stage.bank.set_faults(&faults));
        for round in 0..SETTLERS_MOST {
            let number = 1_000 + round;
            let mut worker = self.start(number, None);
            self.run_to_the_end(&mut worker, number).await;
            let status = worker.stop().await;
            assert_eq!(status.code(), Some(143), "{}", self.told(&worker));
            self.look().await;
            if self.waiting().await == 0 {
                self.over = self.book.sent.len();
                self.is_amid = false;
                return;
            }
        }
        panic!("messages are left: {}", self.story.join("; "));
    }

    async fn run_to_the_end(&mut self, worker: &mut Worker, number: usize) {
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut people = People::default();
        loop {
            self.look().await;
            let is_over = match self.scene {
                Scene::Traffic | Scene::Resends | Scene::Stopping => self.is_over().await,
                Scene::People => self.help(&mut people).await,
                Scene::Loss => self.rule(&mut people).await,
            };
            if is_over {
                return;
            }
            if worker.has_ended().is_some() && worker.said().contains(KEPT_OUT) {
                // A person's command that found nobody there had the ledger for a moment.
                *worker = self.start(number, None);
            }
            assert!(
                worker.has_ended().is_none() && began.elapsed() < SETTLE_MOST,
                "{:?} is missing after {:?}: {}",
                self.book.is_missing(),
                began.elapsed(),
                self.told(worker)
            );
            looks.tick().await;
        }
    }

    fn told(&self, worker: &Worker) -> String {
        let status = block_in_place(|| self.stage.desk.tanda(&["status", "--json"]));
        format!(
            "{}\n{}\n{}",
            self.story.join("; "),
            worker.said(),
            crate::support::program::said(&status)
        )
    }

    /// What came of it at the end. The broker forgets the queues.
    pub(super) async fn end(self) -> Ended {
        let report = block_in_place(|| self.stage.bank.report());
        let replays = report.get("replays").and_then(Value::as_u64);
        let mut faults = self.book.faults(&report);
        let status = self.status();
        for pointer in [
            "/in_doubt/count",
            "/begun/count",
            "/held/count",
            "/unpublished",
        ] {
            if status.pointer(pointer) != Some(&0.into()) {
                faults.push(format!("the ledger has {pointer} open: {status}"));
            }
        }
        let requests = status.pointer("/open_requests");
        if requests.and_then(Value::as_array) != Some(&Vec::new()) {
            faults.push(format!("requests are open: {status}"));
        }
        let names = &self.stage.names;
        for queue in [&names.jobs_queue, &names.results_queue, &names.dead_queue] {
            let options = QueueDeleteOptions::default();
            let deleted = self
                .client
                .channel
                .queue_delete(queue.as_str().into(), options);
            deleted.await.expect("it was there");
            let options = ExchangeDeleteOptions::default();
            let deleted = self
                .client
                .channel
                .exchange_delete(queue.as_str().into(), options);
            deleted.await.expect("it was there");
        }
        let story = self.story.join("; ");
        let faults = faults.iter().map(|fault| format!("{story}: {fault}"));
        Ended {
            faults: faults.collect(),
            replays: replays.expect("a count"),
            aborts_amid_resends: self.aborts_amid_resends,
            losses_amid: self.losses_amid,
        }
    }
}

/// Whether a loss was not accepted because there is none.
fn forgot_nothing(accepted: &Output) -> bool {
    accepted.status.code() == Some(2)
        && String::from_utf8_lossy(&accepted.stderr).contains("has forgotten nothing")
}

/// Runs commands beside each other, as many people would; how they ended.
fn run_at_once(commands: impl Iterator<Item = Command>) -> Vec<ExitStatus> {
    let started = commands.map(|mut command| command.spawn().expect("the program starts"));
    let started: Vec<_> = started.collect();
    let ended = started.into_iter().map(|mut child| child.wait());
    ended.map(|status| status.expect("a child")).collect()
}

/// The bank has answered a call.
fn answered() -> Point {
    Point::parse("bank.apply.after").expect("a point")
}

/// How far people have come.
#[derive(Default)]
struct People {
    bank_is_well: bool,
    asked_at: Option<Instant>,
}
