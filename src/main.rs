//! From the command line to [`tanda`], and back to an exit code.

fn main() {}
