//! `tanda completions SHELL`: what completes the command line in a shell.

use clap::CommandFactory as _;

use super::say_bytes;
use crate::app::cli::{Cli, CompletionsArgs};
use crate::app::exit::Exit;

pub(in crate::app) fn completions(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tanda", &mut script);
    say_bytes(&script);
    Exit::Done
}
