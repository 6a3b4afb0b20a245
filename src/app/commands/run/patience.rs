//! The patience of a run: how long it may be held before it stops by itself.
//!
//! *What it promises.* It stops the run as a first ctrl-c would, and only where the flow has been
//! held for that long without a break. It stops nothing that was asked to stop before.
//!
//! *What it refuses to know.* What holds the flow, and what is done about it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::time::Moment;
use crate::engine::Pause;
use crate::engine::stop::Stopper;

/// Why a run gave up; empty where it did not.
pub(super) type GaveUp = Arc<OnceLock<Pause>>;

/// Waits for ever, unless the flow is held for so long.
pub(super) async fn wait(
    after: Duration,
    mut pauses: watch::Receiver<Option<Pause>>,
    stopper: Stopper,
    gave_up: GaveUp,
) {
    // One holding may be seen as several pauses: it is known by when it began.
    let mut held: Option<(Moment, Instant)> = None;
    loop {
        let pause = pauses.borrow_and_update().clone();
        if let Some(pause) = &pause
            && held.is_none_or(|(since, _)| since != pause.since)
        {
            held = Some((pause.since, Instant::now()));
        }
        let (Some(pause), Some((_, seen_at))) = (pause, held) else {
            if pauses.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = pauses.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep_until(seen_at + after) => {
                if stopper.drain() {
                    // Nobody else sets it.
                    gave_up.set(pause).ok();
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::engine::PauseCause;
    use crate::engine::stop;

    const AN_HOUR: Duration = Duration::from_secs(3_600);

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is what is shown: a pause or none"
    )]
    fn pause(cause: PauseCause, since_s: u64) -> Option<Pause> {
        let zero = Timestamp::from_millis(0);
        let start = Moment {
            mono: Duration::ZERO,
            wall: zero,
            bank: zero,
        };
        Some(Pause {
            cause,
            since: start.plus(Duration::from_secs(since_s)),
            until: None,
            wants_trial: false,
        })
    }

    /// Shows these pauses, each for so long, and then none. After how many seconds it gave up.
    async fn gives_up(shown: Vec<(Option<Pause>, u64)>) -> Option<u64> {
        let (stopper, stop) = stop::signal();
        let (pauses, seen) = watch::channel(None);
        let gave_up = GaveUp::default();
        let began = Instant::now();
        let show = async {
            for (pause, seconds) in shown {
                pauses.send_replace(pause);
                tokio::time::sleep_until(Instant::now() + Duration::from_secs(seconds)).await;
            }
            pauses.send_replace(None);
            std::future::pending::<()>().await;
        };
        let in_the_end = tokio::time::timeout(10 * AN_HOUR, stop.asked());
        let waiting = async {
            wait(AN_HOUR, seen, stopper.clone(), Arc::clone(&gave_up)).await;
            std::future::pending::<()>().await;
        };
        let asked = tokio::select! {
            asked = in_the_end => asked,
            () = show => unreachable!("it waits for ever"),
            () = waiting => unreachable!("it waits for ever"),
        };
        assert_eq!(asked.is_ok(), gave_up.get().is_some());
        asked.ok().map(|()| began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_only_where_nothing_broke_the_pause() {
        let refused = || pause(PauseCause::CredentialRefused, 0);
        assert_eq!(
            gives_up(vec![(refused(), 9_999)]).await.map(|s| s >= 3_600),
            Some(true)
        );
        assert_eq!(
            gives_up(vec![(refused(), 3_000), (None, 5_000)]).await,
            None
        );
        let two = vec![
            (refused(), 3_000),
            (None, 1),
            (pause(PauseCause::NotTheBank, 3_001), 3_000),
        ];
        assert_eq!(gives_up(two).await, None, "there was a break");
        let rest_after_rest = vec![
            (pause(PauseCause::RateLimited, 0), 1_800),
            (None, 1),
            (pause(PauseCause::RateLimited, 0), 1_900),
        ];
        assert!(
            gives_up(rest_after_rest).await.is_some(),
            "it was one holding"
        );
        let causes = vec![
            (refused(), 1_800),
            (pause(PauseCause::NotTheBank, 0), 1_900),
        ];
        assert!(gives_up(causes).await.is_some(), "for whatever cause");
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_turn_a_stop_that_was_asked_for_into_another() {
        let (stopper, stop) = stop::signal();
        stopper.ask();
        let (_pauses, seen) = watch::channel(pause(PauseCause::NotTheBank, 0));
        let gave_up = GaveUp::default();
        wait(AN_HOUR, seen, stopper, Arc::clone(&gave_up)).await;
        assert!(gave_up.get().is_none());
        let abandoned = tokio::time::timeout(AN_HOUR, stop.abandoned());
        assert!(abandoned.await.is_err(), "it is still drained");
    }
}
