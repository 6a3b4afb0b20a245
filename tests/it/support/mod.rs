//! What several subjects need.

pub(crate) mod scripted_bank;
