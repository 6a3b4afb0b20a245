//! What the tests with a broker share.

use std::time::Duration;

pub(crate) mod node;
#[path = "../../it/support/program.rs"]
#[allow(dead_code, reason = "other binaries use what this one does not")]
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod queues;
pub(crate) mod stage;

/// The longest that something may take to become true, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
