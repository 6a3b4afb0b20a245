//! What several subjects need.

pub(crate) mod scripted_bank;
pub(crate) mod tls_bank;
