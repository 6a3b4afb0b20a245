//! The program as its users have it: the real binary, its files, and the simulated bank as a
//! process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TANDA: &str = env!("CARGO_BIN_EXE_tanda");

/// The most that `ledger.min_free_mib` can ask for, which is an exbibyte.
pub(crate) const MORE_THAN_ANY_DISK_MIB: &str = "1099511627776";

/// More lines than any program here says.
const LINES_WAITING: usize = 100_000;

/// The longest that something may take to become true.
const UNTIL_MAX: Duration = Duration::from_secs(60);

/// A folder with a configuration of its own.
pub(crate) struct Desk {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = folder.path().join("ledger.db");
        let settings = vec![
            (
                "TANDA_LEDGER__URL".to_owned(),
                format!("sqlite:{}", ledger.display()),
            ),
            ("TANDA_BANK__TOKEN".to_owned(), "simulated".to_owned()),
            ("TANDA_ENGINE__BACKOFF_BASE_MS".to_owned(), "20".to_owned()),
            ("TANDA_ENGINE__SETTLE_DELAY_S".to_owned(), "1".to_owned()),
            ("TANDA_ENGINE__PROBE_EVERY_S".to_owned(), "1".to_owned()),
        ];
        Self { folder, settings }
    }

    /// A desk whose bank is at this address and whose ledger is made.
    pub(crate) fn at(bank: &str) -> Self {
        let mut desk = Self::new();
        desk.set("TANDA_BANK__BASE_URL", bank);
        let made = desk.tanda(&["init"]);
        assert!(made.status.success(), "{}", said(&made));
        desk
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.settings.retain(|(known, _)| known != name);
    }

    /// Runs a command again and again until it ends with this code: for what needs a moment to
    /// become true. It fails where that takes far longer than the shortened waits of a desk.
    pub(crate) fn until(&self, code: i32, arguments: &[&str]) -> Output {
        let began = Instant::now();
        loop {
            let output = self.tanda(arguments);
            if output.status.code() == Some(code) {
                return output;
            }
            assert!(began.elapsed() < UNTIL_MAX, "{}", said(&output));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file in the temporary folder");
        path.display().to_string()
    }

    /// Writes a file that only this user may read; its path.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> String {
        let path = self.write(name, text);
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, own).expect("ours");
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TANDA);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn tanda(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("the program starts")
    }
}

/// A command under way whose words are listened to.
pub(crate) struct Started {
    child: Child,
    /// Read all the time: a program whose words nobody takes comes to a halt.
    lines: Receiver<String>,
    said: String,
}

impl Started {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = sync_channel(LINES_WAITING);
        std::thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).expect("it says UTF-8") > 0 {
                // Whoever listened may have gone.
                sender.send(std::mem::take(&mut line)).ok();
            }
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// Ends when it has said this; it must say it before it ends.
    pub(crate) fn until_it_says(&mut self, text: &str) {
        while !self.said.contains(text) {
            let Ok(line) = self.lines.recv() else {
                panic!("it never said {text:?}:\n{}", self.said);
            };
            self.said.push_str(&line);
        }
    }

    /// Fails where it has ended.
    pub(crate) fn must_run_on(&mut self) {
        if self.child.try_wait().expect("a child").is_some() {
            self.said.extend(self.lines.iter());
            panic!("it has ended:\n{}", self.said);
        }
    }

    /// Ends when so many jobs moved money, each of them once; the run must not end before.
    pub(crate) fn until_paid(&mut self, bank: &SimulatorProcess, count: usize) {
        while bank.paid_once() < count {
            self.must_run_on();
        }
    }

    /// Asks it to stop, as a supervisor does; how it ends.
    pub(crate) fn terminate(self) -> (Option<i32>, String) {
        self.stop_by("-TERM")
    }

    /// Sends it this signal; how it ends.
    pub(crate) fn stop_by(self, signal: &str) -> (Option<i32>, String) {
        send(&self.child, signal);
        self.ends()
    }

    /// Ends it without a word, as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }

    /// Its exit code and everything it said.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        self.said.extend(self.lines.iter());
        let status = self.child.wait().expect("it ends");
        (status.code(), self.said)
    }
}

/// Sends a process this signal, such as `-TERM`.
pub(crate) fn send(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.expect("kill runs").success());
}

/// Fails unless a command ended with this code.
pub(crate) fn exits(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

/// Everything that a command said, for failure messages.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The status of each row of a result file, in its order. Good for files without quotes that span
/// lines.
pub(crate) fn statuses(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a result file");
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let columns = header.split(',').count();
    let status = header
        .split(',')
        .position(|name| name == "tanda_status")
        .expect("a status");
    lines
        .map(|line| {
            // Counted from the end: descriptions may have commas, our columns have none.
            let cell = line
                .rsplit(',')
                .nth(columns - 1 - status)
                .expect("a status");
            cell.trim_matches('"').to_owned()
        })
        .collect()
}

/// `tanda simulator` as a process; it is stopped when dropped.
pub(crate) struct SimulatorProcess {
    child: Child,
    pub(crate) url: String,
}

impl SimulatorProcess {
    pub(crate) fn start(faults: &str) -> Self {
        Self::with_token("simulated", faults)
    }

    /// One that takes this token.
    pub(crate) fn with_token(token: &str, faults: &str) -> Self {
        let mut child = Command::new(TANDA)
            .args(["simulator", "--listen", "127.0.0.1:0", "--faults", faults])
            .args(["--accept-token", token])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("an address")
            .to_owned();
        Self { child, url }
    }

    /// What its books say.
    pub(crate) fn report(&self) -> Value {
        let body = self.exchange("GET", "report", "");
        serde_json::from_str(&body).expect("JSON")
    }

    /// How many jobs moved money; none may have moved it twice.
    pub(crate) fn paid_once(&self) -> usize {
        let report = self.report();
        let entities = report.get("entities").and_then(Value::as_object);
        let entities = entities.expect("entities");
        for (entity_id, entity) in entities {
            let movements = entity.get("movements").and_then(Value::as_u64);
            assert_eq!(movements, Some(1), "{entity_id}");
        }
        entities.len()
    }

    /// How often a job was applied.
    pub(crate) fn movements(&self, entity_id: &str) -> u64 {
        let report = self.report();
        let entity = report
            .get("entities")
            .and_then(|entities| entities.get(entity_id));
        let movements = entity.and_then(|entity| entity.get("movements")?.as_u64());
        movements.unwrap_or_default()
    }

    /// How many operation calls it has heard.
    pub(crate) fn operations_heard(&self) -> u64 {
        let report = self.report();
        let heard = report.pointer("/requests/operations");
        heard.and_then(Value::as_u64).expect("a count")
    }

    /// Deals these faults from now on.
    pub(crate) fn set_faults(&self, faults: &str) {
        self.order("faults", faults);
    }

    /// Changes how it behaves: `token` or `faults`.
    pub(crate) fn order(&self, what: &str, body: &str) {
        self.exchange("POST", what, body);
    }

    fn exchange(&self, method: &str, what: &str, body: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the simulator answers");
        let length = body.len();
        let request = format!(
            "{method} /_simulator/{what} HTTP/1.0\r\nHost: localhost\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream
            .write_all(request.as_bytes())
            .expect("the simulator reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the simulator answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        let status = head.split_whitespace().nth(1).expect("a status");
        assert!(status.starts_with('2'), "{method} {what}: {answer}");
        body.to_owned()
    }
}

impl Drop for SimulatorProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
