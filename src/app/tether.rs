//! The tether: a process that ends when whoever started it is gone.
//!
//! A drill starts banks and workers of its own. It can be killed itself, and a terminal can be closed
//! over it: then the system closes the other end of their stdin, and none of them stays behind. To end
//! so is a crash like any other, which loses nothing.

use std::io;
use std::process;

use super::exit::Exit;

/// From now on the process ends when its stdin does.
pub(super) fn hold() {
    let held = std::thread::Builder::new().name("tether".to_owned());
    let started = held.spawn(|| {
        // Whatever comes is passed over; an error is an end too.
        io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
        process::exit(Exit::Terminated.code().into());
    });
    started.expect("a process that has just begun can have a second thread");
}
