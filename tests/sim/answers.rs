//! What comes back of a call, and what the product makes of it.
//!
//! *What it promises.* Every verdict of a world is the real [`classify`]'s, from an answer as the bank,
//! or whoever stands in its place, would give it.

use std::sync::OnceLock;
use std::time::Duration;

use tanda::bank::classify::{Answer, Body, Break, CameBack, classify};
use tanda::domain::verdict::Verdict;

/// What comes back of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// 201.
    Created,
    /// 422 in the envelope.
    Refused,
    /// 404 in the envelope: the card is not known.
    UnknownCard,
    /// 403 in the envelope.
    Forbidden,
    /// 401.
    Unauthorised,
    /// 429, with this `Retry-After` in milliseconds.
    Busy(Option<u64>),
    /// 409.
    Conflict,
    /// 500 in the envelope, with this `Retry-After` in milliseconds.
    Failed(Option<u64>),
    /// 502 with a page of a gateway.
    Gateway,
    /// 200 with a page of somebody who is not the bank.
    Portal,
    /// 422 with such a page.
    PortalRefuses,
    /// A 201 whose body broke off.
    Cut,
    /// No answer in time.
    Silence,
    /// The connection broke.
    Reset,
    /// The connection did not come about.
    Unsent,
}

impl Heard {
    /// Each, once.
    const ALL: [Self; 15] = [
        Self::Created,
        Self::Refused,
        Self::UnknownCard,
        Self::Forbidden,
        Self::Unauthorised,
        Self::Busy(None),
        Self::Conflict,
        Self::Failed(None),
        Self::Gateway,
        Self::Portal,
        Self::PortalRefuses,
        Self::Cut,
        Self::Silence,
        Self::Reset,
        Self::Unsent,
    ];

    /// Whether it is the bank's own, so that its `Date` is the bank's time.
    pub(crate) const fn is_the_banks(self) -> bool {
        match self {
            Self::Created
            | Self::Refused
            | Self::UnknownCard
            | Self::Forbidden
            | Self::Unauthorised
            | Self::Busy(_)
            | Self::Conflict
            | Self::Failed(_) => true,
            Self::Gateway
            | Self::Portal
            | Self::PortalRefuses
            | Self::Cut
            | Self::Silence
            | Self::Reset
            | Self::Unsent => false,
        }
    }

    /// The product's verdict.
    pub(crate) fn verdict(self, token_is_proven: bool) -> Verdict {
        static ANSWERS: OnceLock<Vec<CameBack>> = OnceLock::new();
        if let Self::Busy(Some(_)) | Self::Failed(Some(_)) = self {
            return classify(&self.came_back(), token_is_proven);
        }
        let answers = ANSWERS.get_or_init(|| Self::ALL.map(Self::came_back).into());
        let known = Self::ALL.iter().position(|heard| *heard == self);
        let came_back = known.and_then(|index| answers.get(index));
        classify(came_back.expect("each is in the list"), token_is_proven)
    }

    fn came_back(self) -> CameBack {
        const ENVELOPE: &[u8] = br#"{"code":"","errors":[],"id":"","message":""}"#;
        const PAGE: &[u8] = b"<html>";
        let answer = |status: u16, body: &[u8], retry_after: Option<u64>| {
            let is_page = body == PAGE;
            CameBack::Answer(Answer {
                status,
                content_type: is_page.then(|| "text/html".to_owned()),
                retry_after: retry_after.map(Duration::from_millis),
                body: Body::Whole(body.to_vec()),
            })
        };
        match self {
            Self::Created => answer(201, b"", None),
            Self::Refused => answer(422, ENVELOPE, None),
            Self::UnknownCard => answer(404, ENVELOPE, None),
            Self::Forbidden => answer(403, ENVELOPE, None),
            Self::Unauthorised => answer(401, ENVELOPE, None),
            Self::Busy(retry_after) => answer(429, b"", retry_after),
            Self::Conflict => answer(409, ENVELOPE, None),
            Self::Failed(retry_after) => answer(500, ENVELOPE, retry_after),
            Self::Gateway => answer(502, PAGE, None),
            Self::Portal => answer(200, PAGE, None),
            Self::PortalRefuses => answer(422, PAGE, None),
            Self::Cut => CameBack::Answer(Answer {
                status: 201,
                content_type: None,
                retry_after: None,
                body: Body::Unreadable,
            }),
            Self::Silence => CameBack::Nothing(Break::Timeout),
            Self::Reset => CameBack::Nothing(Break::Connection),
            Self::Unsent => CameBack::Nothing(Break::NotSent { why: String::new() }),
        }
    }
}
