//! What the tests share.

pub(crate) mod fuse;
pub(crate) mod judge;
pub(crate) mod program;
