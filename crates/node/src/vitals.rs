//! How a node does, told to whoever started it: that it serves, that its driver turns, and a line that helps at night.
//!
//! A sign of life is given only after the driver has answered, so a driver that is stuck is silent. Waiting for an origin is no
//! trouble: what was confirmed last runs without anyone. Nothing is decided here.

use crate::driver::{Connected, Gone, Handle};
use crate::escape::escape;
use crate::notify::{Notifier, Word};
use crate::own::ITSELF;
use content::{AppName, Role};
use engine::door::{Event, Phase};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the line is looked at when nobody asked for signs of life.
const USUAL: Duration = Duration::from_secs(10);

/// How a node does.
pub struct Vitals {
    name: String,
    role: Role,
    handle: Handle,
    events: broadcast::Receiver<Event>,
    phases: BTreeMap<AppName, Phase>,
    /// Whether the version of this program that runs is the one that is to run.
    is_settled: bool,
    said: String,
}

/// How often to tell, and whether that is a sign of life that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Nobody waits for signs of life.
    Leisurely,
    /// Somebody ends this process when none came for so long.
    Watched(Duration),
}

impl Rhythm {
    /// Twice in the time that is allowed, as is usual.
    fn interval(self) -> Interval {
        let every = match self {
            Self::Leisurely => USUAL,
            Self::Watched(patience) => (patience / 2).clamp(Duration::from_millis(10), USUAL),
        };
        let mut interval = interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    }
}

impl Vitals {
    /// Of a node whose driver does not run yet, so that nothing that happens is missed.
    pub(crate) fn of(name: &str, role: Role, handle: &Handle) -> Self {
        let (events, handle) = (handle.events.subscribe(), handle.clone());
        Self {
            name: name.to_owned(),
            role,
            handle,
            events,
            phases: BTreeMap::new(),
            is_settled: false,
            said: String::new(),
        }
    }

    /// Tells that the node serves, and then how it does, until it does not run any more.
    pub async fn tell(mut self, notifier: &Notifier, rhythm: Rhythm) {
        let mut beats = rhythm.interval();
        notifier.tell(&[Word::Ready]);
        loop {
            tokio::select! {
                _ = beats.tick() => match self.beat(rhythm).await {
                    Ok(words) => notifier.tell(&words),
                    Err(Gone) => return,
                },
                event = self.events.recv() => match event {
                    Ok(event) => notifier.tell(&self.heed(&event)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Waits for the driver's turn.
    async fn beat(&mut self, rhythm: Rhythm) -> Result<Vec<Word>, Gone> {
        let line = self.line(self.handle.turn().await?);
        let alive = (rhythm != Rhythm::Leisurely).then_some(Word::Alive);
        let changed = (line != self.said).then(|| Word::Status(line.clone()));
        self.said = line;
        // The way there may lose a word, and a version that is never heard to be settled is given up: it is said again each time.
        let settled = self.is_settled.then_some(Word::Settled);
        Ok(alive.into_iter().chain(changed).chain(settled).collect())
    }

    /// Keeps how far applications are; this program itself at rest is a word of its own.
    fn heed(&mut self, event: &Event) -> Vec<Word> {
        let Event::Phase { app, phase, .. } = event else { return Vec::new() };
        self.phases.insert(app.clone(), *phase);
        if app.as_str() != ITSELF {
            return Vec::new();
        }
        self.is_settled = match phase {
            Phase::Confirmed | Phase::FellBack => true,
            Phase::Live | Phase::Failed => false,
            // The next version is on its way, which changes nothing of the one that runs.
            Phase::Told | Phase::Fetching | Phase::Complete | Phase::Staged => self.is_settled,
        };
        let rests = matches!(phase, Phase::Confirmed | Phase::FellBack);
        if rests { vec![Word::Settled] } else { Vec::new() }
    }

    fn line(&self, connected: Connected) -> String {
        let Connected { origins, others } = connected;
        let who = format!("{} {}", if self.role == Role::Origin { "origin" } else { "agent" }, escape(&self.name));
        let company = match (self.role, origins) {
            (Role::Origin, _) => format!("{others} connected"),
            (_, 0) => format!("no origin answers ({others} other agents connected); what was confirmed last runs"),
            _ => format!("connected to its origin and {others} other agents"),
        };
        let apps: Vec<String> = self.phases.iter().map(|(app, phase)| format!("{app} {}", words(*phase))).collect();
        [vec![format!("{who}: {company}")], apps].concat().join("; ")
    }
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Told | Phase::Fetching => "is fetched",
        Phase::Complete => "is laid out",
        Phase::Staged => "waits for its wave",
        Phase::Live => "is live, not confirmed yet",
        Phase::Confirmed => "is confirmed",
        Phase::Failed => "HAS FAILED",
        Phase::FellBack => "fell back to what ran before",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Incoming;
    use content::{Digest, ReleaseId};
    use std::ffi::OsString;
    use tokio::net::UnixDatagram;
    use tokio::sync::{mpsc, watch};

    struct Listener {
        _held: tempfile::TempDir,
        socket: UnixDatagram,
        address: OsString,
    }

    impl Listener {
        fn new() -> Self {
            let held = tempfile::tempdir().expect("a temporary directory");
            let address = held.path().join("notify");
            let socket = UnixDatagram::bind(&address).expect("bound");
            Self { _held: held, socket, address: address.into() }
        }

        async fn hear(&self) -> Vec<Word> {
            let mut buffer = [0; 2048];
            let read = self.socket.recv(&mut buffer).await.expect("something comes");
            Word::all_of(&buffer[..read])
        }

        /// Passes over others until this word comes.
        async fn wait_for(&self, word: &Word) {
            while !self.hear().await.contains(word) {}
        }
    }

    fn handle() -> (Handle, mpsc::Receiver<Incoming>) {
        let (inbox, asked) = mpsc::channel(8);
        let changed = watch::channel(0).1;
        (Handle { inbox, changed, events: broadcast::channel(8).0, sent: Default::default(), by: None }, asked)
    }

    #[tokio::test]
    async fn a_sign_of_life_waits_for_the_driver_and_a_stuck_one_gives_none() {
        let (listener, (handle, mut asked)) = (Listener::new(), handle());
        let notifier = Notifier::to(&listener.address).expect("an address");
        let vitals = Vitals::of("a", Role::Agent, &handle);
        let telling = tokio::spawn(async move {
            vitals.tell(&notifier, Rhythm::Watched(Duration::from_millis(20))).await;
        });
        assert_eq!(listener.hear().await, [Word::Ready]);
        for _ in 0..3 {
            let Some(Incoming::Turn { turned }) = asked.recv().await else { panic!("the driver is asked") };
            // Until the driver answers there is no word, however long that takes.
            assert!(listener.socket.try_recv(&mut [0; 8]).is_err());
            turned.send(Connected::default()).expect("somebody waits");
            listener.wait_for(&Word::Alive).await;
        }
        let Some(Incoming::Turn { turned }) = asked.recv().await else { panic!("the driver is asked") };
        drop((turned, asked));
        telling.await.expect("it ends with the driver");
        assert!(listener.socket.try_recv(&mut [0; 8]).is_err(), "it was stuck to its end");
    }

    #[tokio::test]
    async fn nobody_who_does_not_wait_gets_signs_of_life() {
        let (listener, (handle, mut asked)) = (Listener::new(), handle());
        let notifier = Notifier::to(&listener.address).expect("an address");
        let vitals = Vitals::of("a", Role::Agent, &handle);
        let telling = tokio::spawn(async move { vitals.tell(&notifier, Rhythm::Leisurely).await });
        assert_eq!(listener.hear().await, [Word::Ready]);
        let Some(Incoming::Turn { turned }) = asked.recv().await else { panic!("the driver is asked") };
        turned.send(Connected { origins: 1, others: 4 }).expect("somebody waits");
        let status = "agent a: connected to its origin and 4 other agents".to_owned();
        assert_eq!(listener.hear().await, [Word::Status(status)]);
        telling.abort();
    }

    #[tokio::test]
    async fn that_it_is_settled_is_said_again_with_every_beat_while_it_is_so() {
        let (handle, mut asked) = handle();
        let mut vitals = Vitals::of("a", Role::Agent, &handle);
        let answering = tokio::spawn(async move {
            while let Some(Incoming::Turn { turned }) = asked.recv().await {
                turned.send(Connected::default()).expect("somebody waits");
            }
        });
        let phase = |phase| Event::Phase {
            app: AppName::new(ITSELF).expect("a name"),
            release: ReleaseId(Digest::of(b"one")),
            phase,
        };
        for (now, is_said) in [
            (Phase::Live, false),
            (Phase::Confirmed, true),
            (Phase::Fetching, true),
            (Phase::Live, false),
            (Phase::FellBack, true),
        ] {
            vitals.heed(&phase(now));
            for _ in 0..2 {
                let words = vitals.beat(Rhythm::Leisurely).await.expect("the driver turns");
                assert_eq!(words.contains(&Word::Settled), is_said, "{now:?}");
            }
        }
        answering.abort();
    }

    #[test]
    fn the_line_says_what_helps_at_night() {
        let (handle, _asked) = handle();
        let mut vitals = Vitals::of("web-7\u{1b}", Role::Agent, &handle);
        let phase = |app: &str, phase| Event::Phase {
            app: AppName::new(app).expect("a name"),
            release: ReleaseId(Digest::of(b"one")),
            phase,
        };
        assert_eq!(vitals.heed(&phase("web", Phase::Confirmed)), []);
        assert_eq!(vitals.heed(&phase(ITSELF, Phase::Live)), []);
        assert_eq!(vitals.heed(&phase(ITSELF, Phase::Confirmed)), [Word::Settled]);
        assert_eq!(vitals.heed(&phase(ITSELF, Phase::FellBack)), [Word::Settled]);
        let line = vitals.line(Connected { origins: 0, others: 2 });
        for part in ["no origin answers", "2 other agents", "web is confirmed", "tiding fell back"] {
            assert!(line.contains(part) && !line.contains('\u{1b}'), "{part} in {line}");
        }
    }
}
