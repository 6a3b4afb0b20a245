//! A RabbitMQ node of a test's own: its folder, ports, cookie and epmd.
//!
//! It is a subprocess of a small shell that reads from a pipe which this process holds: when this
//! process ends, however it ends, the shell kills the node by its process id. Nothing is left behind.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian has the programs; unlike those in the path, they run as whoever calls them.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// The longest time for a node to answer: it takes some five seconds on two free cores.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// Starts the node, and kills it when nobody holds the other end of its standard input. An interrupt at
/// the terminal is for whoever holds it.
const KEEPER: &str = r#"
trap "" INT
"$0" >"$NODE_FOLDER/stdout" 2>&1 </dev/null &
read -r _
kill -9 "$(cat "$RABBITMQ_PID_FILE")" "$!" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  epmd -kill >/dev/null 2>&1 && break
  read -r -t 0.3 _ <>"$NODE_FOLDER/never"
done
rm -rf "$NODE_FOLDER/mnesia-to-go"
"#;

/// A node.
pub(crate) struct Node {
    folder: PathBuf,
    name: String,
    port: u16,
    dist_port: u16,
    epmd_port: u16,
    home: PathBuf,
    keeper: Option<Child>,
    /// Removed at the end; a cluster has one for all its nodes.
    temporary: Option<TempDir>,
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener.local_addr().expect("bound").port()
}

/// A node for every test that does it no harm.
pub(crate) fn shared() -> &'static Node {
    static SHARED: OnceLock<Node> = OnceLock::new();
    SHARED.get_or_init(|| Node::start(""))
}

impl Node {
    /// Starts one with this configuration, and waits until it answers.
    pub(crate) fn start(configuration: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path().to_owned();
        let mut node = Self::made(&folder, "t0", free_port(), configuration);
        node.temporary = Some(temporary);
        node.boot();
        node
    }

    /// One that is not started yet. Nodes of one folder share a cookie.
    pub(crate) fn made(
        parent: &std::path::Path,
        name: &str,
        epmd_port: u16,
        configuration: &str,
    ) -> Self {
        let folder = parent.join(name);
        let home = parent.join("home");
        for made in [&folder, &home] {
            std::fs::create_dir_all(made).expect("a folder");
        }
        // The keeper waits at it for a moment, without a sleep.
        let never = Command::new("mkfifo").arg(folder.join("never")).status();
        assert!(never.expect("mkfifo runs").success());
        std::fs::write(folder.join("enabled_plugins"), "[].\n").expect("a file");
        // A laptop's disk may be nearly full; alarms are raised by the tests that want them.
        let configuration = format!("disk_free_limit.absolute = 50MB\n{configuration}\n");
        std::fs::write(folder.join("rabbitmq.conf"), configuration).expect("a file");
        Self {
            name: format!("{name}-{}@localhost", std::process::id()),
            port: free_port(),
            dist_port: free_port(),
            epmd_port,
            home,
            folder,
            keeper: None,
            temporary: None,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        url_at(self.port)
    }

    fn environment(&self, command: &mut Command) {
        let folder = |name: &str| self.folder.join(name).display().to_string();
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", &self.home)
            .env("NODE_FOLDER", &self.folder)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", folder("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder("log"))
            .env("RABBITMQ_PID_FILE", folder("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", folder("rabbitmq"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
    }

    /// Starts it, on whatever it has on its disk, and waits until it answers.
    pub(crate) fn boot(&mut self) {
        self.launch();
        self.await_boot();
    }

    pub(crate) fn launch(&mut self) {
        let mut command = Command::new("bash");
        command.args(["-c", KEEPER, &format!("{PROGRAMS}/rabbitmq-server")]);
        self.environment(&mut command);
        let keeper = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.keeper = Some(keeper.expect("bash runs"));
    }

    pub(crate) fn await_boot(&self) {
        let began = Instant::now();
        let address = ([127, 0, 0, 1], self.port).into();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            assert!(
                began.elapsed() < BOOT_LIMIT,
                "the node does not start: {}",
                std::fs::read_to_string(self.folder.join("stdout")).unwrap_or_default()
            );
            // Takes a while by itself, and returns at once where it cannot be reached yet.
            self.program("rabbitmqctl", &["await_startup", "--timeout", "60"]);
        }
        let ready = self.program("rabbitmqctl", &["await_startup", "--timeout", "60"]);
        assert!(ready.status.success(), "{}", told(&ready));
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(format!("{PROGRAMS}/{program}"));
        command.args(arguments).stdin(Stdio::null());
        self.environment(&mut command);
        command.output().expect("it runs")
    }

    /// What `rabbitmqctl` says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.program("rabbitmqctl", arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Kills it, as a power cut does, once it knows its queues for good.
    pub(crate) fn kill(&mut self) {
        self.note_queues();
        self.kill_at_once();
    }

    /// What a queue younger than a second or so has confirmed would be gone when the node is killed:
    /// RabbitMQ 3.10 notes the files of new quorum queues in a table that it writes now and then (measured),
    /// so it is made to write that.
    pub(crate) fn note_queues(&self) {
        self.ctl(&["eval", "dets:sync(ra_directory_reverse)."]);
    }

    /// Kills it now.
    pub(crate) fn kill_at_once(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("pid")).unwrap_or_default();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(
            killed.expect("kill runs").success(),
            "the node {pid:?} runs"
        );
        self.forget_keeper();
    }

    /// The keeper ends once nobody holds its standard input.
    fn forget_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().ok();
        }
    }

    /// It has no memory left, as far as it believes; or enough again.
    pub(crate) fn memory_alarm(&self, is_raised: bool) {
        let mark = if is_raised { "0.000001" } else { "0.6" };
        self.ctl(&["set_vm_memory_high_watermark", mark]);
    }

    /// Ready and unacknowledged messages of each queue.
    pub(crate) fn depths(&self) -> BTreeMap<String, (u64, u64)> {
        let columns = ["name", "messages_ready", "messages_unacknowledged"];
        let told = self.ctl(
            &[
                &["list_queues", "--quiet", "--no-table-headers"],
                &columns[..],
            ]
            .concat(),
        );
        let mut depths = BTreeMap::new();
        for line in told.lines() {
            let mut cells = line.split('\t');
            if let (Some(name), Some(ready), Some(unacked)) =
                (cells.next(), cells.next(), cells.next())
                && let (Ok(ready), Ok(unacked)) = (ready.parse(), unacked.parse())
            {
                depths.insert(name.to_owned(), (ready, unacked));
            }
        }
        depths
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.forget_keeper();
    }
}

/// The URL of a broker, or of a proxy, at this port.
pub(crate) fn url_at(port: u16) -> String {
    format!("amqp://guest:guest@127.0.0.1:{port}/%2F")
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Three nodes that share their queues.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _folder: TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let epmd_port = free_port();
        let mut nodes: Vec<_> = ["t0", "t1", "t2"]
            .into_iter()
            .map(|name| Node::made(folder.path(), name, epmd_port, ""))
            .collect();
        // One after another: the first makes the cookie, and three that boot at once take no less time
        // on two cores.
        for node in &mut nodes {
            node.boot();
        }
        let (first, others) = nodes.split_first().expect("three");
        for other in others {
            other.ctl(&["stop_app"]);
            other.ctl(&["join_cluster", first.name()]);
            other.ctl(&["start_app"]);
        }
        Self {
            nodes,
            _folder: folder,
        }
    }
}
