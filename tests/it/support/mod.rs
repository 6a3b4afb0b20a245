//! What the tests share.

pub(crate) mod failing_disk;
pub(crate) mod fuse;
pub(crate) mod judge;
pub(crate) mod payroll;
pub(crate) mod program;
pub(crate) mod queue;
pub(crate) mod scripted_bank;
pub(crate) mod tampering;
pub(crate) mod tls_bank;
