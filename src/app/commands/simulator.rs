//! `tanda simulator`: the simulated bank as a server.
//!
//! *What it promises.* Listens on loopback only, says where on stdout, and prints its books' totals
//! when it is stopped.
//!
//! *What it refuses to know.* Who calls it.

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::say;
use crate::app::cli::SimulatorArgs;
use crate::app::compose::world;
use crate::app::exit::{Exit, Failure};
use crate::app::signals;
use crate::simulator::server::serve;

pub(in crate::app) async fn simulator(args: SimulatorArgs) -> Result<Exit, Failure> {
    if !args.listen.ip().is_loopback() {
        let error = anyhow!(
            "--listen {}: the simulated bank listens on loopback only",
            args.listen
        );
        return Err(Failure::new(Exit::Usage, error));
    }
    let bank = world(
        &args.faults,
        args.seed,
        &args.accept_token,
        args.opening_balance,
    )?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", args.listen))
        .map_err(|error| Failure::new(Exit::Unusable, error))?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::internal(error.into()))?;
    say(&format!(
        "simulated bank on http://{address} (token: {})\n",
        args.accept_token
    ));
    let (stopper, stop) = crate::engine::stop::signal();
    let mut tasks = JoinSet::new();
    signals::listen(stopper, "stopping", &mut tasks)
        .map_err(|error| Failure::internal(error.into()))?;
    serve(bank.clone(), listener, async move { stop.asked().await })
        .await
        .map_err(|error| Failure::new(Exit::Unusable, error))?;
    let report = bank.report();
    let moved: u64 = report
        .entities
        .values()
        .map(|entity| entity.movements)
        .sum();
    let twice = report
        .entities
        .values()
        .filter(|entity| entity.movements > 1)
        .count();
    say(&format!(
        "{moved} movements for {} jobs; {twice} paid more than once\n",
        report.entities.len()
    ));
    Ok(Exit::Done)
}
