//! A TCP proxy that cuts, stalls, delays and swallows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes taken in one go.
const CHUNK_BYTES: usize = 16 * 1024;

/// What it does to what passes.
#[derive(Debug)]
struct Behaviour {
    /// Bytes, both ways together, after which every connection is cut; negative for never.
    bytes_left: AtomicI64,
    /// Nothing passes from the broker any more.
    swallows: AtomicBool,
    /// What the broker says passes so many milliseconds later.
    delay_ms: AtomicU64,
    cuts: AtomicUsize,
    /// Raised to end every connection.
    epoch: watch::Sender<u64>,
}

/// A proxy in front of a broker.
pub(crate) struct Proxy {
    port: u16,
    behaviour: Arc<Behaviour>,
    _serving: JoinSet<()>,
}

impl Proxy {
    /// One in front of this port.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has ports");
        let own_port = listener.local_addr().expect("bound").port();
        let behaviour = Arc::new(Behaviour {
            bytes_left: AtomicI64::new(-1),
            swallows: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            cuts: AtomicUsize::new(0),
            epoch: watch::Sender::new(0),
        });
        let mut serving = JoinSet::new();
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        serving.spawn(serve(listener, target, Arc::clone(&behaviour)));
        Self {
            port: own_port,
            behaviour,
            _serving: serving,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection once so many more bytes have passed, in whichever direction.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.behaviour.bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Lets nothing of what the broker says through any more, or again.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.behaviour.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Lets what the broker says through so much later from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("not so long");
        self.behaviour.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Cuts every connection now.
    pub(crate) fn cut(&self) {
        self.behaviour.cut();
    }

    /// How often connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.behaviour.cuts.load(Ordering::SeqCst)
    }
}

impl Behaviour {
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// How many of these bytes may pass.
    fn passes(&self, bytes: usize) -> usize {
        let wanted = i64::try_from(bytes).expect("a chunk");
        let before = self.bytes_left.load(Ordering::SeqCst);
        if before < 0 {
            return bytes;
        }
        let left = self.bytes_left.fetch_sub(wanted, Ordering::SeqCst);
        if left >= wanted {
            return bytes;
        }
        self.bytes_left.store(-1, Ordering::SeqCst);
        self.cut();
        usize::try_from(left.max(0)).expect("not negative")
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, behaviour: Arc<Behaviour>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let behaviour = Arc::clone(&behaviour);
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(target).await {
                carry(client, server, &behaviour).await;
            }
        });
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, behaviour: &Behaviour) {
    let mut epoch = behaviour.epoch.subscribe();
    let (mut up, mut down) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut delayed: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let due = delayed.front().map(|(due, _)| *due);
        let is_due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let (is_up, read) = tokio::select! {
            _ = epoch.changed() => break,
            () = is_due => {
                let (_, bytes) = delayed.pop_front().expect("it is due");
                if client.write_all(&bytes).await.is_err() {
                    break;
                }
                continue;
            }
            read = client.read(&mut up) => (true, read),
            read = server.read(&mut down) => (false, read),
        };
        let Ok(read @ 1..) = read else { break };
        let may = behaviour.passes(read);
        let written = if is_up {
            server
                .write_all(up.get(..may).expect("not more than was read"))
                .await
        } else if behaviour.swallows.load(Ordering::SeqCst) {
            Ok(())
        } else if behaviour.delay_ms.load(Ordering::SeqCst) > 0 || !delayed.is_empty() {
            let delay = Duration::from_millis(behaviour.delay_ms.load(Ordering::SeqCst));
            let bytes = down.get(..may).expect("not more than was read");
            delayed.push_back((Instant::now() + delay, bytes.to_vec()));
            Ok(())
        } else {
            client
                .write_all(down.get(..may).expect("not more than was read"))
                .await
        };
        if may < read || written.is_err() {
            break;
        }
    }
    for stream in [&client, &server] {
        // A reset, as a cable that is pulled out of a router looks to both ends in the end.
        stream.set_zero_linger().ok();
    }
}
