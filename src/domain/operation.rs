//! The two things that can be done to a card's balance.
//!
//! *What it promises.* The bank's own words, both ways, and no third.
//!
//! *What it refuses to know.* Cards and amounts.

use std::fmt;

/// What is done to the card's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Adds to it.
    Topup,
    /// Takes from it.
    Withdrawal,
}

impl Operation {
    /// Both operations.
    pub const ALL: [Self; 2] = [Self::Topup, Self::Withdrawal];

    /// Reads the bank's own word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == text)
    }

    /// The bank's own word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topup => "topup",
            Self::Withdrawal => "withdrawal",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
