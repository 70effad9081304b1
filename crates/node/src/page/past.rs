//! The last of what is in the journals, for the pane that tells who did what, when and why.
//!
//! Journals are read as a whole, so they are asked for at most every few seconds, however many tabs want to know.

use super::{Operator, Trouble};
use crate::audit::Told;
use crate::escape::escape;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For so long an answer is good enough.
const GOOD: Duration = Duration::from_secs(3);
/// How many lines are shown.
const MOST: usize = 40;
/// A machine that joined is no deed of an operator's: thousands of them would hide what is.
const LEFT_OUT: &str = "enrolled";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    time: Option<u64>,
    who: Option<String>,
    app: Option<String>,
    what: String,
    why: Option<String>,
}

/// What was told last.
#[derive(Default)]
pub(crate) struct Past(Mutex<Option<(Instant, Vec<Line>)>>);

impl Past {
    /// The newest lines, the newest first.
    pub(crate) async fn lines(&self, operator: &dyn Operator) -> Result<Vec<Line>, Trouble> {
        let mut last = self.0.lock().await;
        if let Some((_, lines)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD) {
            return Ok(lines.clone());
        }
        let told = operator.history().await?;
        let lines: Vec<Line> =
            told.iter().rev().filter(|told| told.kind != LEFT_OUT).take(MOST).map(Line::of).collect();
        *last = Some((Instant::now(), lines.clone()));
        Ok(lines)
    }
}

impl Line {
    fn of(told: &Told) -> Self {
        let words = |text: &Option<String>| text.as_deref().map(escape);
        Self {
            time: told.time,
            who: words(&told.who),
            app: words(&told.app),
            what: escape(&told.what),
            why: words(&told.why).filter(|why| !why.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Acting, Deed, Recalling};
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Counting(AtomicU64);

    impl Operator for Counting {
        fn act(&self, _: Deed) -> Acting {
            Box::pin(async { Ok(String::new()) })
        }

        fn history(&self) -> Recalling {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            let told = move |index: u64| Told {
                time: Some(index),
                who: Some("alice\u{1b}".to_owned()),
                app: None,
                kind: if index == 99 { LEFT_OUT } else { "ordered" }.to_owned(),
                what: format!("{asked}: {index}"),
                why: Some(String::new()),
                journal: "fleet".to_owned(),
                generation: 1,
                index,
            };
            Box::pin(async move { Ok((0..100).map(told).collect()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn journals_are_asked_for_now_and_then_and_the_newest_lines_shown() {
        let (past, operator) = (Past::default(), Counting(AtomicU64::new(0)));
        let first = past.lines(&operator).await.expect("told");
        assert_eq!((first.len(), &*first[0].what, first[0].who.as_deref()), (MOST, "0: 98", Some("alice\\u{1b}")));
        assert_eq!(first[0].why, None, "no words are no reason");
        assert_eq!(past.lines(&operator).await.expect("told"), first);
        tokio::time::advance(GOOD).await;
        assert_eq!(past.lines(&operator).await.expect("told")[0].what, "1: 98");
    }
}
