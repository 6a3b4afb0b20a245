//! The contract of the messages, as machines read it.
//!
//! *What it promises.* JSON Schema 2020-12 of both messages, and an `AsyncAPI` 3 document that holds both.
//!
//! *What it refuses to know.* Messages: these are held against the schemas by tests.

use serde_json::Value;

/// JSON Schema of the job message.
pub const JOB: &str = include_str!("schema/job.schema.json");
/// JSON Schema of the outcome message.
pub const OUTCOME: &str = include_str!("schema/outcome.schema.json");
/// `AsyncAPI`, without these two.
const ASYNCAPI: &str = include_str!("schema/asyncapi.json");

/// An `AsyncAPI` document that is complete in itself.
#[must_use]
pub fn asyncapi() -> String {
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("it is our own") };
    let mut document = read(ASYNCAPI);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
        .expect("it has a place for schemas");
    schemas.insert("job".to_owned(), read(JOB));
    schemas.insert("outcome".to_owned(), read(OUTCOME));
    let text = serde_json::to_string_pretty(&document);
    text.expect("a value always serialises") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_complete_in_itself() {
        let document: Value = serde_json::from_str(&asyncapi()).expect("JSON");
        assert_eq!(document["asyncapi"], "3.0.0");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"").skip(1) {
            let reference = reference.split('"').next().expect("an end");
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for schema in ["job", "outcome"] {
            let dialect = &document["components"]["schemas"][schema]["$schema"];
            assert_eq!(dialect, "https://json-schema.org/draft/2020-12/schema");
        }
    }
}
