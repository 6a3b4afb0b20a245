//! The kinds of faults, and how often each strikes in one world.
//!
//! *What it promises.* Swarm: each kind is on or off for a whole world. What is rare in the breadth of all
//! worlds is dense where it is on.
//!
//! *What it refuses to know.* What a fault does.

use super::chance::Chance;

macro_rules! faults {
    ($($fault:ident: $of_worlds:literal, $most:literal;)*) => {
        /// A kind of fault that strikes at some step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault {
            $($fault,)*
        }

        impl Fault {
            pub(super) const ALL: &[Self] = &[$(Self::$fault,)*];
            pub(super) const COUNT: usize = Self::ALL.len();

            /// In how many of a thousand worlds it is on, and how often it then strikes at most, in
            /// thousandths of the steps that it may strike at.
            const fn weights(self) -> (u32, u64) {
                match self {
                    $(Self::$fault => ($of_worlds, $most),)*
                }
            }
        }
    };
}

faults! {
    // What becomes of a call.
    NoConnection: 400, 300;
    Unauthorised: 150, 60;
    RateLimit: 300, 150;
    Portal: 150, 60;
    ReplyLost: 600, 400;
    RequestLost: 500, 400;
    Late: 400, 400;
    ErrorBefore: 300, 300;
    ErrorAfter: 300, 300;
    Conflict: 250, 200;
    ConflictAfter: 150, 150;
    Slow: 300, 500;
    Refuse: 400, 300;
    RefuseCopy: 250, 900;
    TaskPanics: 100, 60;
    // What becomes of a reading of the list.
    ListFails: 300, 400;
    ListBarred: 80, 200;
    ListShifts: 150, 300;
    // The source.
    AckLost: 250, 100;
    Cut: 300, 30;
    SourceBreaks: 60, 10;
    // The sink.
    NotConfirmed: 350, 200;
    ConfirmLost: 300, 200;
    SinkBroken: 100, 100;
    // The ledger.
    CommitFails: 150, 10;
    CommitFailsThoughDone: 200, 20;
}

impl Fault {
    #[expect(
        clippy::as_conversions,
        reason = "the place of a variant, which has no data"
    )]
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// Chances in a thousand.
#[derive(Clone, Debug)]
pub(super) struct Weights([u32; Fault::COUNT]);

impl Weights {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let is_calm = chance.per_mille(30);
        let mut weights = [0; Fault::COUNT];
        for (fault, weight) in Fault::ALL.iter().zip(&mut weights) {
            let (of_worlds, most) = fault.weights();
            let is_on = chance.per_mille(of_worlds);
            let drawn = chance.magnitude(most);
            if is_on && !is_calm {
                *weight = u32::try_from(drawn).expect("at most a thousand");
            }
        }
        Self(weights)
    }

    pub(super) fn of(&self, fault: Fault) -> u32 {
        self.0.get(fault.place()).copied().unwrap_or_default()
    }

    /// Those that are on, for people.
    pub(super) fn on(&self) -> Vec<(Fault, u32)> {
        let all = Fault::ALL.iter().map(|&fault| (fault, self.of(fault)));
        all.filter(|(_, weight)| *weight > 0).collect()
    }
}
