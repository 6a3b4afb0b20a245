//! Faults that are planted on purpose: each breaks one promise that the engine relies on, or stands for one
//! that the engine would break, and each must be caught.

/// What is broken in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// The bank forgets every key at once, though resends lean on them.
    NoKeyMemory,
    /// The bank executes what it was sent after the settle delay.
    LateBeyondTheSettleDelay,
    /// The bank's list hides now and then what it has shown.
    ListHidesWhatItShowed,
    /// The bank refuses what it has just paid.
    BankRefusesWhatItPaid,
    /// Each call may have a key of its own.
    NewKeyForAResend,
    /// The ledger says that an intent is durable which it has forgotten.
    LedgerForgetsIntents,
    /// The ledger says that an outcome is durable which it has forgotten.
    LedgerForgetsOutcomes,
    /// The ledger gives back other bytes than it was given.
    LedgerChangesBytes,
    /// An older copy of the ledger is put in its place, and nobody is told.
    CopyIsNotAccepted,
    /// The sink says that an outcome is confirmed which nobody has got.
    SinkTrustsTheUnconfirmed,
    /// What goes back to the queue is put behind all others.
    QueueLosesOrder,
    /// What goes back to the queue is gone.
    QueueForgets,
    /// Two processes work on one ledger.
    TwoEngines,
    /// What only says that the bank is busy is taken for its refusal of the job.
    TroubleIsTakenForARefusal,
    /// A job is given up after its first attempt.
    AttemptsAreCutShort,
    /// What was confirmed to a ledger that was lost is taken for confirmed.
    SinkTrustsForgottenConfirms,
    /// After a loss readers are told another end too, which a ledger that was lost had told.
    OldEndsAreToldAgain,
    /// What the bank refused it pays, and then the ledger is lost that told so.
    PaysAtALossWhatItRefused,
    /// The bank executes what it was sent when all is over.
    LateWhenAllIsOver,
    /// After a restart a person's word is taken although something may still arrive.
    WordsComeTooEarly,
    /// A person is called before the list is asked.
    PersonComesFirst,
}

impl Sabotage {
    pub(super) const ALL: [Self; 21] = [
        Self::NoKeyMemory,
        Self::LateBeyondTheSettleDelay,
        Self::ListHidesWhatItShowed,
        Self::BankRefusesWhatItPaid,
        Self::NewKeyForAResend,
        Self::LedgerForgetsIntents,
        Self::LedgerForgetsOutcomes,
        Self::LedgerChangesBytes,
        Self::CopyIsNotAccepted,
        Self::SinkTrustsTheUnconfirmed,
        Self::QueueLosesOrder,
        Self::QueueForgets,
        Self::TwoEngines,
        Self::TroubleIsTakenForARefusal,
        Self::AttemptsAreCutShort,
        Self::SinkTrustsForgottenConfirms,
        Self::OldEndsAreToldAgain,
        Self::PaysAtALossWhatItRefused,
        Self::LateWhenAllIsOver,
        Self::WordsComeTooEarly,
        Self::PersonComesFirst,
    ];
}
