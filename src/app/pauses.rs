//! A pause in the words of whoever waits for the money.
//!
//! *What it promises.* Each pause says why, until when, what it means for the money, and what to do.
//!
//! *What it refuses to know.* Where the words appear.

use std::path::PathBuf;

use crate::engine::{Pause, PauseCause};

/// Characters of a wrapped line: narrower than any terminal that is used.
const COLUMNS: usize = 78;

/// What the advice depends on.
#[derive(Clone, Debug)]
pub(super) struct Circumstances {
    /// The token's file; none where the token came from the environment or the configuration, which
    /// are read once.
    pub(super) token_file: Option<PathBuf>,
    /// Where the bank is.
    pub(super) bank: String,
    /// Where the ledger is.
    pub(super) ledger: String,
}

/// A pause, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Why the flow is held.
    pub(super) why: String,
    /// Until when, or when it is looked at again.
    pub(super) until: String,
    /// What it means for the money.
    pub(super) means: &'static str,
    /// What to do.
    pub(super) to_do: String,
}

impl Words {
    pub(super) fn of(pause: &Pause, about: &Circumstances) -> Self {
        Self {
            why: pause.cause.to_string(),
            until: until(pause),
            means: means(&pause.cause),
            to_do: to_do(&pause.cause, about),
        }
    }

    /// On one line, beside other things.
    pub(super) fn short(&self) -> String {
        format!("paused: {}; {}", self.why, self.until)
    }

    /// All of it, a line for each.
    pub(super) fn long(&self) -> String {
        self.lines().join("\n")
    }

    /// All of it, in lines that no usual terminal breaks within a word.
    pub(super) fn wrapped(&self) -> String {
        let lines = self.lines();
        let wrapped: Vec<_> = lines.iter().map(|line| wrap(line)).collect();
        wrapped.join("\n")
    }

    fn lines(&self) -> [String; 3] {
        let (means, to_do) = (self.means, &self.to_do);
        [self.short(), format!("  {means}"), format!("  {to_do}")]
    }
}

/// Breaks a line between words; what follows its first part is indented.
fn wrap(line: &str) -> String {
    let mut words = line.split(' ');
    let mut wrapped = words.next().unwrap_or_default().to_owned();
    let mut column = wrapped.chars().count();
    for word in words {
        let width = word.chars().count();
        let fits = column + 1 + width <= COLUMNS;
        let (between, begins_at) = if fits {
            (" ", column + 1)
        } else {
            ("\n    ", 4)
        };
        wrapped.push_str(between);
        wrapped.push_str(word);
        column = begins_at + width;
    }
    wrapped
}

fn until(pause: &Pause) -> String {
    let at = pause.until.map(|until| until.wall.to_the_second());
    match (&pause.cause, at) {
        (PauseCause::RateLimited, Some(at)) => format!("until {at}"),
        (PauseCause::MassRefusal { .. }, Some(at)) => format!("one row is tried at {at}"),
        (PauseCause::DiskNearlyFull { .. }, _) => "until there is room".to_owned(),
        (PauseCause::ResultsNotRead, _) => "until outcomes are read again".to_owned(),
        (PauseCause::Person { .. }, _) => "until a person resumes it".to_owned(),
        (
            PauseCause::Starting
            | PauseCause::CredentialRefused
            | PauseCause::NotAuthorized
            | PauseCause::NotTheBank
            | PauseCause::BankNotAnswering,
            Some(at),
        ) => format!("the bank is tried again at {at}"),
        (
            PauseCause::Starting
            | PauseCause::RateLimited
            | PauseCause::CredentialRefused
            | PauseCause::NotAuthorized
            | PauseCause::NotTheBank
            | PauseCause::BankNotAnswering
            | PauseCause::MassRefusal { .. },
            None,
        ) => "one row is being tried now".to_owned(),
    }
}

const fn means(cause: &PauseCause) -> &'static str {
    match cause {
        PauseCause::Starting => "Nothing was sent yet.",
        PauseCause::MassRefusal { .. } => {
            "The refused rows moved no money and are `rejected`. All others wait: none is lost, \
             nothing was sent twice."
        }
        PauseCause::RateLimited
        | PauseCause::CredentialRefused
        | PauseCause::NotAuthorized
        | PauseCause::NotTheBank
        | PauseCause::BankNotAnswering
        | PauseCause::DiskNearlyFull { .. }
        | PauseCause::ResultsNotRead
        | PauseCause::Person { .. } => {
            "What is not done yet waits: nothing is lost, nothing was sent twice."
        }
    }
}

fn to_do(cause: &PauseCause, about: &Circumstances) -> String {
    let bank = &about.bank;
    let new_token = match &about.token_file {
        Some(path) => format!(
            "put a good token into {}: it is read again by itself, and the run goes on",
            path.display()
        ),
        None => "stop with ctrl-c, set TANDA_BANK__TOKEN to a good token, and run the same file \
                 again: what is done is not done again"
            .to_owned(),
    };
    match cause {
        PauseCause::Starting => format!("To do: nothing, unless it lasts: then check {bank}."),
        PauseCause::RateLimited => {
            "To do: nothing, it goes on by itself. Where it comes often, set \
                                    engine.rate_per_second."
                .to_owned()
        }
        PauseCause::CredentialRefused => format!("To do: {new_token}."),
        PauseCause::NotAuthorized => format!(
            "To do: ask the bank to let this token move money on these cards, and it goes on by \
             itself; or {new_token}."
        ),
        PauseCause::NotTheBank => format!(
            "To do: check the network of this machine (a login page, a proxy) and bank.base_url \
             ({bank}). Once the bank answers, it goes on by itself."
        ),
        PauseCause::BankNotAnswering => format!(
            "To do: nothing, it goes on by itself. If it lasts, ask the bank, or check the network \
             to {bank}."
        ),
        PauseCause::MassRefusal { .. } => format!(
            "To do: look whether currency, amounts and bank ({bank}) are the right ones, and \
             whether there are funds. When one row is accepted, all go on. If these rows are to be \
             refused, stop with ctrl-c and run the same file again with \
             TANDA_ENGINE__REFUSALS_IN_A_ROW=0."
        ),
        PauseCause::DiskNearlyFull { .. } => format!(
            "To do: make room on the disk of {}; it goes on by itself within seconds.",
            about.ledger
        ),
        PauseCause::ResultsNotRead => {
            "To do: see to whatever reads the results queue; it goes on by itself once there is room."
                .to_owned()
        }
        PauseCause::Person { .. } => "To do: tanda resume --by NAME, when it may go on.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::time::{Moment, Timestamp};

    fn words(cause: PauseCause, ends: bool, token_file: Option<&str>) -> String {
        let wall = Timestamp::from_millis(1_795_000_000_000);
        let since = Moment {
            mono: Duration::ZERO,
            wall,
            bank: wall,
        };
        let pause = Pause {
            cause,
            since,
            until: ends.then_some(since),
            wants_trial: false,
        };
        let about = Circumstances {
            token_file: token_file.map(PathBuf::from),
            bank: "https://bank.example".to_owned(),
            ledger: "/var/lib/tanda/ledger.db".to_owned(),
        };
        Words::of(&pause, &about).long()
    }

    #[test]
    fn a_line_is_broken_between_words_and_only_there() {
        let words = "a word and another, ".repeat(20);
        let line = format!("  To do: {words}end");
        let wrapped = wrap(&line);
        assert!(
            wrapped.lines().all(|line| line.chars().count() <= COLUMNS),
            "{wrapped}"
        );
        assert_eq!(wrapped.replace("\n    ", " "), line);
        assert_eq!(wrap("  short"), "  short");
        let long = "x".repeat(200);
        assert_eq!(wrap(&long), long, "a word is never broken");
        assert_eq!(wrap(""), "");
    }

    #[test]
    fn a_token_that_is_read_once_cannot_come_back_in_the_same_run() {
        let from_environment = words(PauseCause::CredentialRefused, true, None);
        assert!(
            from_environment.contains("stop with ctrl-c"),
            "{from_environment}"
        );
        assert!(from_environment.contains("run the same file again"));
        let from_file = words(
            PauseCause::CredentialRefused,
            true,
            Some("/etc/tanda/token"),
        );
        assert!(
            from_file.contains("put a good token into /etc/tanda/token"),
            "{from_file}"
        );
        assert!(!from_file.contains("ctrl-c"));
    }

    #[test]
    fn each_pause_says_why_until_when_what_it_means_and_what_to_do() {
        let causes = [
            PauseCause::Starting,
            PauseCause::RateLimited,
            PauseCause::CredentialRefused,
            PauseCause::NotAuthorized,
            PauseCause::NotTheBank,
            PauseCause::BankNotAnswering,
            PauseCause::MassRefusal {
                code: "validation_error".to_owned(),
                refusals: 20,
            },
            PauseCause::DiskNearlyFull {
                free_bytes: 13_000_000,
                least_bytes: 67_108_864,
            },
            PauseCause::Person {
                by: "Ana".to_owned(),
                since: Timestamp::from_millis(1_795_000_000_000),
            },
        ];
        for cause in causes {
            for ends in [true, false] {
                let text = words(cause.clone(), ends, None);
                let lines: Vec<_> = text.lines().collect();
                assert_eq!(lines.len(), 3, "{text}");
                assert!(lines[0].starts_with("paused: "), "{text}");
                assert!(lines[2].starts_with("  To do: "), "{text}");
            }
        }
        let disk = words(
            PauseCause::DiskNearlyFull {
                free_bytes: 13_000_000,
                least_bytes: 67_108_864,
            },
            false,
            None,
        );
        assert!(disk.contains("12 MiB are free, 64 MiB must be"), "{disk}");
        assert!(disk.contains("/var/lib/tanda/ledger.db"));
        let limited = words(PauseCause::RateLimited, true, None);
        assert!(
            limited.contains("until 2026-11-18 11:06:40 UTC"),
            "{limited}"
        );
    }
}
