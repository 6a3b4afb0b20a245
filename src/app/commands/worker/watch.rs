//! What people see of a worker: what holds the flow, and when it goes on.
//!
//! *What it promises.* One telling for each cause, when it begins, and one when the flow goes on.
//!
//! *What it refuses to know.* Single jobs: the log has them.

use tokio::sync::watch;

use crate::app::pauses::{Circumstances, Words};
use crate::app::streams::tell;
use crate::engine::{Pause, PauseCause};

/// Tells of pauses for as long as there are any to be seen.
pub(super) async fn tell_pauses(mut pauses: watch::Receiver<Option<Pause>>, about: Circumstances) {
    let mut told: Option<PauseCause> = None;
    while pauses.changed().await.is_ok() {
        let pause = pauses.borrow_and_update().clone();
        // A rest that the bank asks for is soon over, and the read before the first job too.
        let pause = pause
            .filter(|pause| !matches!(pause.cause, PauseCause::RateLimited | PauseCause::Starting));
        let cause = pause.as_ref().map(|pause| pause.cause.clone());
        if cause == told {
            continue;
        }
        match &pause {
            Some(pause) => tell(&format!("{}\n", Words::of(pause, &about).wrapped())),
            None => tell("the flow goes on\n"),
        }
        told = cause;
    }
}
