//! Who may see the page: a one-time token in a link, exchanged for a session that lives as long as this process, twelve hours at most.
//!
//! A session has two halves. The cookie is sent by the browser alone, and read by no script; but cookies know no ports, so a server of another
//! user of this machine may come to see it. The key is held by the tab that the link opened, and known to no other port. Token, cookie and key are 128 bits of
//! the operating system's randomness each, compared in constant time, and never written anywhere.

use crate::identity::random;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// How long a session lives.
pub(crate) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// How many sessions there may be; one more takes the place of the oldest.
const MOST: usize = 8;

/// 128 bits that nobody can guess.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    fn new() -> Self {
        Self(random())
    }

    fn is(&self, said: &str) -> bool {
        let said = data_encoding::HEXLOWER.decode(said.as_bytes()).unwrap_or_default();
        verify_slices_are_equal(&self.0, &said).is_ok()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// The token that is out, and the sessions there are.
#[derive(Default)]
pub(crate) struct Sessions {
    token: Option<Secret>,
    open: Vec<Session>,
}

/// A browser's tab that came by a link.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    pub(crate) cookie: Secret,
    pub(crate) key: Secret,
    pub(crate) end: Instant,
}

impl Session {
    /// Whether somebody has its other half, too.
    pub(crate) fn has_key(&self, said: &str) -> bool {
        self.key.is(said)
    }
}

impl Sessions {
    /// A new token; the one before means nothing any more.
    pub(crate) fn issue(&mut self) -> Secret {
        *self.token.insert(Secret::new())
    }

    /// A session for the token that is out, which is spent by that.
    pub(crate) fn exchange(&mut self, said: &str) -> Option<Session> {
        self.token.take_if(|token| token.is(said))?;
        if self.open.len() == MOST {
            self.open.remove(0);
        }
        let session = Session { cookie: Secret::new(), key: Secret::new(), end: Instant::now() + LIFE };
        self.open.push(session);
        Some(session)
    }

    /// The session with this cookie.
    pub(crate) fn of(&mut self, cookie: &str) -> Option<Session> {
        self.open.retain(|session| session.end > Instant::now());
        self.open.iter().find(|session| session.cookie.is(cookie)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn w1_a_token_opens_one_session_and_a_session_ends_after_twelve_hours() {
        let mut sessions = Sessions::default();
        let token = sessions.issue().to_string();
        assert!(sessions.exchange("").is_none() && sessions.exchange(&token[..30]).is_none());
        let session = sessions.exchange(&token).expect("it is out");
        let (cookie, key) = (session.cookie.to_string(), session.key.to_string());
        assert!(sessions.exchange(&token).is_none(), "it is spent");
        assert!(sessions.of(&cookie).is_some_and(|session| session.has_key(&key) && !session.has_key(&cookie)));
        assert!(sessions.of(&token).is_none() && sessions.of(&key).is_none());
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(sessions.of(&cookie).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sessions.of(&cookie).is_none(), "it has ended");
    }

    #[tokio::test]
    async fn w1_a_newer_token_takes_the_place_of_the_one_before_and_sessions_are_few() {
        let mut sessions = Sessions::default();
        let (old, new) = (sessions.issue().to_string(), sessions.issue().to_string());
        assert!(sessions.exchange(&old).is_none(), "there is a newer one");
        let first = sessions.exchange(&new).expect("it is out").cookie.to_string();
        for _ in 0..MOST {
            assert!(sessions.of(&first).is_some());
            let token = sessions.issue().to_string();
            sessions.exchange(&token).expect("it is out");
        }
        assert!(sessions.of(&first).is_none() && sessions.open.len() == MOST);
    }
}
