//! The simulated bank in this process, whose books can be put back to where they were.

use std::sync::Arc;

use tanda::engine::SystemClock;
use tanda::engine::ports::Clock as _;
use tanda::simulator::faults::Faults;
use tanda::simulator::server::{SimulatedBank, serve};
use tanda::simulator::{Report, Request, Settings, World};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A bank that remembers no key: whatever is sent twice moves money twice.
pub(super) struct RewindableBank {
    bank: SimulatedBank,
    pub(super) url: String,
    /// The server lives as long as its runtime.
    _runtime: Runtime,
}

impl RewindableBank {
    pub(super) fn start(faults: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let bank = SimulatedBank::new(world(faults), Arc::new(SystemClock));
        runtime.spawn(serve(bank.clone(), listener, std::future::pending()));
        Self {
            bank,
            url,
            _runtime: runtime,
        }
    }

    pub(super) fn report(&self) -> Report {
        self.bank.report()
    }

    /// Goes back to these books, and tells these lies from then on.
    pub(super) fn go_back_to(&self, books: &Report, faults: &str) {
        let mut world = world(faults);
        let now = SystemClock.wall();
        for (entity_id, entity) in &books.entities {
            for movement in &entity.operations {
                let (amount, currency) = (movement.amount.amount, &movement.amount.currency);
                let body = format!(
                    r#"{{"amount":{{"amount":{amount},"currency":"{currency}"}},"entity_id":"{entity_id}","operation":"{}"}}"#,
                    movement.operation
                );
                let request = Request {
                    method: "POST",
                    target: &format!("/v1/cards/{}/prepaid/operations", movement.card_id),
                    authorization: Some("Bearer simulated"),
                    key: Some(&movement.id),
                    body: body.as_bytes(),
                };
                world.answer(&request, now);
            }
        }
        let again = world.report(now);
        for (entity_id, entity) in &books.entities {
            assert_eq!(
                again.movements(entity_id),
                entity.movements,
                "the same books"
            );
        }
        self.bank.replace(world);
    }
}

fn world(faults: &str) -> World {
    let faults = format!("key_life_s=0,{faults}");
    World::new(Settings {
        faults: Faults::parse(faults.trim_end_matches(',')).expect("faults"),
        ..Settings::default()
    })
}
