//! A fuse at every door of the engine: at its n-th step the process is as good as killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tanda::engine::Ports;
use tanda::engine::doors::{self, Broken, Guard, Happening, Kind, Place, Point};
use tanda::engine::ports::Source;
use tanda::wire::bank::OperationRequest;
use tokio::sync::Notify;

use super::queue::{Chronicle, Entry};

/// Blows at a given step; whoever takes that step never returns.
pub(crate) struct Fuse {
    blows_at: usize,
    steps: AtomicUsize,
    blown: Notify,
}

impl Fuse {
    pub(crate) fn new(blows_at: usize) -> Arc<Self> {
        Arc::new(Self {
            blows_at,
            steps: AtomicUsize::new(0),
            blown: Notify::new(),
        })
    }

    async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.blows_at {
            self.blown.notify_one();
        }
        if self.steps.load(Ordering::SeqCst) >= self.blows_at {
            // After the kill nobody takes a further step.
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the fuse blows.
    pub(crate) async fn blown(&self) {
        self.blown.notified().await;
    }

    /// These ports and this source, with the fuse before and after every effect and every answer.
    pub(crate) fn guard(
        self: &Arc<Self>,
        ports: Ports,
        source: Box<dyn Source>,
    ) -> (Ports, Box<dyn Source>) {
        self.guard_and_note(ports, source, &Chronicle::default())
    }

    /// The same, with every effect on record.
    pub(crate) fn guard_and_note(
        self: &Arc<Self>,
        ports: Ports,
        source: Box<dyn Source>,
        chronicle: &Chronicle,
    ) -> (Ports, Box<dyn Source>) {
        let guard: Arc<dyn Guard> = Arc::new(Noting {
            fuse: Arc::clone(self),
            chronicle: chronicle.clone(),
        });
        let source = doors::guarded_source(source, &guard);
        (doors::guarded(ports, &guard), source)
    }
}

struct Noting {
    fuse: Arc<Fuse>,
    chronicle: Chronicle,
}

#[async_trait]
impl Guard for Noting {
    async fn at(&self, point: Point) -> Result<(), Broken> {
        let is_step = match point.door.kind {
            Kind::Step | Kind::Send | Kind::Publish | Kind::Answer => true,
            Kind::Read | Kind::Take => false,
        };
        // A sign of life is left each second, and is of no job.
        if is_step && point.place != Place::During && point.door.name != "ledger.beat" {
            self.fuse.step().await;
        }
        Ok(())
    }

    fn note(&self, happening: Happening<'_>) {
        self.chronicle.note(match happening {
            Happening::Begun(entity_id) => Entry::Begun(entity_id.as_str().to_owned()),
            Happening::Held(entity_id) => Entry::Held(entity_id.as_str().to_owned()),
            Happening::Called(body) => {
                let request: OperationRequest = serde_json::from_slice(body).expect("our own body");
                Entry::Called(request.entity_id.expect("always sent"))
            }
            Happening::Published(outcome) => {
                let name = outcome.entity_id.as_ref().map(|id| id.as_str().to_owned());
                Entry::Published(name.unwrap_or_default(), outcome.status)
            }
        });
    }
}
