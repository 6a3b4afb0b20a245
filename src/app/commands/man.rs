//! `tanda man`: the manual, the page of each command after that of the program.

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::say_bytes;
use crate::app::cli::Cli;
use crate::app::exit::{Exit, Failure};

pub(in crate::app) fn man() -> Result<Exit, Failure> {
    let mut manual = Vec::new();
    let mut program = Cli::command();
    program.build();
    write_pages(&program, &mut manual).map_err(|error| Failure::internal(error.into()))?;
    say_bytes(&manual);
    Ok(Exit::Done)
}

fn write_pages(command: &Command, manual: &mut Vec<u8>) -> std::io::Result<()> {
    Man::new(command.clone()).render(manual)?;
    for below in command.get_subcommands() {
        if below.get_name() != "help" {
            write_pages(below, manual)?;
        }
    }
    Ok(())
}
