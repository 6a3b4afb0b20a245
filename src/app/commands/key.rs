//! `tanda key ENTITY_ID`: the idempotency key of a job.

use std::path::Path;

use serde_json::json;

use super::{entity_id, say, say_json};
use crate::app::cli::KeyArgs;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::key::{Generation, IdempotencyKey};
use crate::engine::settings::Ending;

pub(in crate::app) fn key(config: Option<&Path>, args: &KeyArgs) -> Result<Exit, Failure> {
    let usage = |error| Failure::new(Exit::Usage, error);
    let settings = Config::load(config)
        .and_then(|config| config.settings(Ending::WhenDry))
        .map_err(usage)?;
    let entity_id = entity_id(&args.entity_id)?;
    let generation = Generation::new(args.generation.get()).unwrap_or(Generation::FIRST);
    let key = IdempotencyKey::derive(&settings.namespace, &entity_id, generation);
    if args.json {
        say_json(&json!({
            "namespace": settings.namespace.as_str(),
            "entity_id": entity_id.as_str(),
            "generation": generation.get(),
            "idempotency_key": key.to_string(),
        }));
    } else {
        say(&format!("{key}\n"));
    }
    Ok(Exit::Done)
}
