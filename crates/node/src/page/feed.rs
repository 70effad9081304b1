//! Sends a reader what changed, as server-sent events: everything once, then what is newer than what it has taken.
//!
//! An event is made when there is room for it, never before: a reader that takes nothing holds one event, whatever the fleet does.

use super::PACE;
use super::door::Door;
use crate::exchange::Body;
use crate::identity::wall_clock;
use hyper::body::{Bytes, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// When nothing changes, this often it is said that it does not, and how old it is.
const BEAT: Duration = Duration::from_secs(2);

/// A stream of events until `end`.
pub(crate) fn events(door: Arc<Door>, end: Instant) -> Body {
    // One event may wait here and one in the connection.
    let (to, events) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = tell(&door, &to) => {}
            () = to.closed() => {}
            () = sleep_until(end) => {}
        }
    });
    Body::new(Events(events))
}

async fn tell(door: &Door, to: &mpsc::Sender<Bytes>) {
    let (mut changed, mut version) = (door.changed.subscribe(), 0);
    loop {
        let Ok(room) = to.reserve().await else { return };
        let next = Instant::now() + PACE;
        changed.mark_unchanged();
        let (json, now) = door.board().since(version, Instant::now().into_std(), wall_clock().0);
        version = now;
        room.send([&b"data: "[..], &json, b"\n\n"].concat().into());
        sleep_until(next).await;
        // It is said after a while whether or not anything changed.
        let _either = timeout(BEAT, changed.changed()).await;
    }
}

/// A body that is written event by event.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::pretend::{door, fleet, node};
    use super::*;
    use crate::watching::Seen;
    use http_body_util::BodyExt;

    fn learn(door: &Door, software: &str) {
        let mut node = node("web-1", None);
        node.software = software.into();
        let version = door.board().learn(&Seen::now(fleet(vec![node])), Instant::now().into_std(), 0);
        door.changed.send_replace(version);
    }

    async fn next(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.expect("it cannot fail");
        Some(String::from_utf8_lossy(frame.data_ref().expect("data")).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn w5_a_reader_that_takes_nothing_holds_one_event_and_skips_what_it_missed() {
        let door = door();
        learn(&door, "first");
        let mut body = events(door.clone(), Instant::now() + Duration::from_secs(3600));
        assert!(next(&mut body).await.is_some_and(|event| event.contains("first")));
        for round in 0..100 {
            learn(&door, &format!("round-{round}-"));
            tokio::time::advance(PACE).await;
        }
        let (waited, newest) = (next(&mut body).await, next(&mut body).await);
        let waited = waited.expect("one waits");
        assert!((0..5).any(|early| waited.contains(&format!("round-{early}-"))), "made when there was room: {waited}");
        assert!(newest.is_some_and(|event| event.contains("round-99-")), "and then what is so now");
    }

    #[tokio::test(start_paused = true)]
    async fn w1_a_feed_ends_with_its_session_and_says_until_then_that_nothing_changed() {
        let door = door();
        learn(&door, "first");
        let end = Instant::now() + BEAT * 10;
        let mut body = events(door.clone(), end);
        let mut beats = 0;
        while next(&mut body).await.is_some() {
            beats += 1;
        }
        assert!((5..=11).contains(&beats) && Instant::now() >= end, "{beats}");
    }
}
