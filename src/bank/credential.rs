//! The bearer token: read, watched, lent for one call.
//!
//! *What it promises.* The token is never part of a `Debug`, a `Display` or an error (I12). A file
//! is read again when it changes, and in any case after a 401; a file that cannot be read for a
//! while leaves the last good token in use; so does one that others can read or write, which is said
//! once. Each new token is a new generation and has to prove
//! itself anew.
//!
//! *What it refuses to know.* When a call is made, and what a pause is.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::BankSetupError;
use super::secret_file::{self, SecretFileError, Stamp};
use crate::domain::digest::Digest;
use crate::domain::job::CardId;
use crate::telemetry;

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// The token itself (from the environment, say); it stays as it is.
    Fixed(SecretString),
    /// A file that holds the token alone; white space around it is dropped. It may be replaced at
    /// any time.
    File(PathBuf),
}

/// The token in use and what is known of it.
pub(super) struct Credential {
    source: TokenSource,
    state: Mutex<State>,
}

struct State {
    header: HeaderValue,
    digest: Digest,
    generation: u64,
    /// What the file looked like when the token was read from it; `None` forces a new read.
    stamp: Option<Stamp>,
    /// What the file looked like when it was last found open to others.
    found_open: Option<Stamp>,
    /// Digests of up to two distinct cards for which the bank took this token: with two, one of
    /// them is always another card than the one in question.
    proven_on: [Option<Digest>; 2],
}

/// The token, lent for one call.
pub(super) struct Lent {
    /// The value of `authorization`, marked sensitive.
    pub(super) header: HeaderValue,
    /// Which token it is.
    pub(super) generation: u64,
}

impl Credential {
    /// Reads the token for the first time.
    ///
    /// # Errors
    /// Where there is no usable token; the message says what to do.
    pub(super) fn open(source: TokenSource) -> Result<Self, BankSetupError> {
        let (token, stamp) = match &source {
            TokenSource::Fixed(token) => (token.clone(), None),
            TokenSource::File(path) => {
                let (token, stamp) = read(path)?;
                (token, Some(stamp))
            }
        };
        let state = State {
            header: header_of(&token)?,
            digest: digest_of(&token),
            generation: 1,
            stamp,
            found_open: None,
            proven_on: [None; 2],
        };
        Ok(Self {
            source,
            state: Mutex::new(state),
        })
    }

    /// The token of now. Looks at the file first: one `stat` of a small local file, so short that
    /// it does not need a thread of its own.
    pub(super) fn lend(&self) -> Lent {
        let mut state = self.lock();
        self.refresh(&mut state);
        Lent {
            header: state.header.clone(),
            generation: state.generation,
        }
    }

    /// The bank said 401: the file is read anew before the next call, whatever it looks like.
    pub(super) fn was_refused(&self) {
        self.lock().stamp = None;
    }

    /// The bank took this token for this card: a 2xx, 404 or 422.
    pub(super) fn was_taken(&self, generation: u64, card_id: &CardId) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let card = Digest::of(card_id.as_str().as_bytes());
        match state.proven_on {
            [None, _] => state.proven_on = [Some(card), None],
            [first @ Some(seen), None] if seen != card => state.proven_on = [first, Some(card)],
            [Some(_), _] => {}
        }
    }

    /// Whether the bank took this token for a card other than this one.
    pub(super) fn is_proven_elsewhere(&self, generation: u64, card_id: &CardId) -> bool {
        let state = self.lock();
        let card = Digest::of(card_id.as_str().as_bytes());
        state.generation == generation && state.proven_on.iter().flatten().any(|&on| on != card)
    }

    fn refresh(&self, state: &mut State) {
        let TokenSource::File(path) = &self.source else {
            return;
        };
        let stamp = path.metadata().ok().map(|found| Stamp::of(&found));
        if stamp.is_some() && stamp == state.stamp {
            return;
        }
        // A file that is missing, half written or empty for a moment while it is replaced is no
        // reason to lose a token that works; the next call looks again.
        let (token, stamp) = match read(path) {
            Ok(read) => read,
            Err(error) => {
                let is_open = matches!(error, BankSetupError::TokenFileOpen { .. });
                if is_open && state.found_open != stamp {
                    state.found_open = stamp;
                    telemetry::TokenFileNotTaken { error: &error }.emit();
                }
                return;
            }
        };
        let Ok(header) = header_of(&token) else {
            return;
        };
        state.stamp = Some(stamp);
        let digest = digest_of(&token);
        if digest != state.digest {
            state.header = header;
            state.digest = digest;
            state.generation += 1;
            state.proven_on = [None; 2];
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing under this lock can panic")
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

/// The token in this file, and what the file looks like.
fn read(path: &Path) -> Result<(SecretString, Stamp), BankSetupError> {
    let shown = || path.display().to_string();
    secret_file::read(path).map_err(|error| match error {
        SecretFileError::Unreadable(source) => BankSetupError::TokenFile {
            path: shown(),
            source,
        },
        SecretFileError::Open(why) => BankSetupError::TokenFileOpen {
            path: shown(),
            why: format!("{why}. If others may have read the token, have the bank replace it"),
        },
        SecretFileError::TooLarge => BankSetupError::Token(
            "file is larger than 16 KiB; it must hold the token and nothing else".to_owned(),
        ),
    })
}

/// `Bearer …`, marked sensitive.
fn header_of(token: &SecretString) -> Result<HeaderValue, BankSetupError> {
    let text = token.expose_secret().trim();
    if text.is_empty() {
        return Err(BankSetupError::Token(
            "is empty; set it, or put it into its file".to_owned(),
        ));
    }
    let stray = text.chars().position(|c| !c.is_ascii_graphic());
    if let Some(index) = stray {
        return Err(BankSetupError::Token(format!(
            "has a character that cannot be in a header (number {} of it; a space, line break \
             or accented letter); set the token alone, without the word Bearer",
            index + 1
        )));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {text}"))
        .expect("visible ASCII can always be in a header");
    header.set_sensitive(true);
    Ok(header)
}

fn digest_of(token: &SecretString) -> Digest {
    Digest::of(token.expose_secret().trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    const CANARY: &str = "canary-token-7f3a";

    fn card(last: char) -> CardId {
        CardId::parse(&format!("car_5tgliBmzjZ6mpQPRbQjfK{last}")).expect("a card")
    }

    /// Writes a file as a token's file must be.
    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).expect("written");
        allow(path, 0o600);
    }

    fn allow(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("ours");
    }

    fn fixed(token: &str) -> Result<Credential, BankSetupError> {
        Credential::open(TokenSource::Fixed(SecretString::from(token)))
    }

    #[test]
    fn i12_a_token_shows_in_no_debug_and_no_error() {
        let source = TokenSource::Fixed(SecretString::from(CANARY));
        let credential = Credential::open(source.clone()).expect("a token");
        let lent = credential.lend();
        let broken = fixed(&format!("{CANARY} é")).expect_err("a space");
        let shown = format!(
            "{source:?}{credential:?}{:?}{broken:?}{broken}",
            lent.header
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(
            lent.header.as_bytes(),
            format!("Bearer {CANARY}").as_bytes()
        );
    }

    #[test]
    fn what_cannot_be_in_a_header_is_a_clear_error() {
        for (token, says) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("Bearer abc", "number 7"),
            ("a\u{7f}", "number 2"),
            ("\u{feff}abc", "number 1"),
            ("ab\ncd", "number 3"),
        ] {
            let fault = fixed(token).expect_err(token).to_string();
            assert!(fault.contains(says), "{token:?}: {fault}");
        }
    }

    #[test]
    fn a_token_is_proven_only_by_another_card_and_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        write(&path, "one\n");
        let credential = Credential::open(TokenSource::File(path.clone())).expect("a token");
        let (a, b, c) = (card('a'), card('b'), card('c'));
        let first = credential.lend().generation;
        assert!(!credential.is_proven_elsewhere(first, &a));
        credential.was_taken(first, &a);
        credential.was_taken(first, &a);
        assert!(!credential.is_proven_elsewhere(first, &a));
        assert!(credential.is_proven_elsewhere(first, &b));
        credential.was_taken(first, &b);
        credential.was_taken(first, &c);
        assert!([&a, &b, &c].map(|card| credential.is_proven_elsewhere(first, card)) == [true; 3]);

        write(&path, "another");
        let second = credential.lend().generation;
        assert_eq!(second, first + 1);
        assert!(!credential.is_proven_elsewhere(second, &c));
        credential.was_taken(first, &a);
        assert!(!credential.is_proven_elsewhere(second, &c));
        assert!(!credential.is_proven_elsewhere(first, &c));
    }

    #[test]
    fn a_token_file_is_followed_and_its_last_good_token_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        write(&path, "one");
        let credential = Credential::open(TokenSource::File(path.clone())).expect("a token");
        for (text, token) in [
            ("one", "Bearer one"),
            ("  two2 \r\n", "Bearer two2"),
            ("", "Bearer two2"),
            ("not one", "Bearer two2"),
            ("three", "Bearer three"),
        ] {
            write(&path, text);
            assert_eq!(credential.lend().header.as_bytes(), token.as_bytes());
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(credential.lend().header.as_bytes(), b"Bearer three");
    }

    #[test]
    fn after_a_401_the_file_is_read_even_if_it_looks_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let write_at_the_same_time = |text: &str| {
            write(&path, text);
            let file = File::options().write(true).open(&path).expect("opened");
            file.set_modified(SystemTime::UNIX_EPOCH).expect("dated");
        };
        write_at_the_same_time("one");
        let credential = Credential::open(TokenSource::File(path.clone())).expect("a token");
        write_at_the_same_time("two");
        assert_eq!(credential.lend().header.as_bytes(), b"Bearer one");
        credential.was_refused();
        assert_eq!(credential.lend().header.as_bytes(), b"Bearer two");
    }

    #[test]
    fn what_is_not_a_small_regular_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |path: &Path| Credential::open(TokenSource::File(path.to_owned()));
        assert!(matches!(
            open(folder.path()),
            Err(BankSetupError::TokenFile { .. })
        ));
        assert!(matches!(
            open(&folder.path().join("missing")),
            Err(BankSetupError::TokenFile { .. })
        ));
        let large = folder.path().join("large");
        write(&large, &"a".repeat(16 * 1024 + 1));
        assert!(matches!(open(&large), Err(BankSetupError::Token(_))));
    }

    #[test]
    fn s19_a_token_file_that_others_can_have_is_refused_and_the_remedy_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        write(&path, "one");
        for (mode, is_good) in [
            (0o400, true),
            (0o600, true),
            (0o440, true),
            (0o640, true),
            (0o644, false),
            (0o604, false),
            (0o602, false),
            (0o601, false),
            (0o620, false),
            (0o660, false),
            (0o777, false),
        ] {
            allow(&path, mode);
            let opened = Credential::open(TokenSource::File(path.clone()));
            assert_eq!(opened.is_ok(), is_good, "{mode:o}");
            let said = opened.err().map(|error| error.to_string());
            let remedy = format!("chmod 600 {}", path.display());
            assert!(said.is_none_or(|said| said.contains(&remedy)), "{mode:o}");
        }
    }

    #[test]
    fn s19_a_token_file_that_is_opened_to_others_in_mid_run_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        write(&path, "one");
        let credential = Credential::open(TokenSource::File(path.clone())).expect("a token");
        write(&path, "two");
        allow(&path, 0o644);
        credential.was_refused();
        assert_eq!(credential.lend().header.as_bytes(), b"Bearer one");
        allow(&path, 0o600);
        assert_eq!(credential.lend().header.as_bytes(), b"Bearer two");
    }
}
