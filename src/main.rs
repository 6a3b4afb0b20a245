//! From the command line to [`tanda::app`], and back to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tanda::app::main()
}
