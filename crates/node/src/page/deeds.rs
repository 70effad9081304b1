//! What may be done with a rollout now, what would happen then and to how many nodes, and why the rest makes no sense now.
//!
//! The origin has the last word; this spares a tired person a button that would only be refused, and a guess at what it does.

use super::marks::{Reach, nodes, number};
use crate::api::{RolloutState, RolloutStatus};
use crate::escape::escape;
use crate::publish;
use serde::Serialize;

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Offer {
    /// What it does: `pause`, `resume`, `promote`, `abort` or `rollback`.
    pub(crate) deed: &'static str,
    /// Why it makes no sense now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not: Option<&'static str>,
    /// What would happen.
    pub(crate) says: String,
    /// The release that it goes to, of a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// How a rollout goes, in words.
pub(crate) fn state(rollout: &RolloutStatus) -> String {
    let waves = rollout.waves.len();
    let nth = |wave: u8| match waves {
        0 => format!("wave {}", u32::from(wave) + 1),
        _ => format!("wave {} of {waves}", u32::from(wave) + 1),
    };
    match &rollout.state {
        RolloutState::Spreading => {
            format!("spreading; the origin has {} of {} pieces", rollout.origin_have, rollout.origin_total)
        }
        RolloutState::Rolling { wave } => match &rollout.restraint.awaits {
            Some(awaits) => format!(
                "{} is confirmed, and waits for a word for {}: `{}`{}",
                nth(*wave),
                minutes(awaits.since_us),
                escape(&awaits.say),
                left(rollout)
            ),
            None => format!("{} is open{}", nth(*wave), left(rollout)),
        },
        RolloutState::Paused { wave, by, why } => {
            let at = wave.map_or_else(|| "before its first wave".to_owned(), |wave| format!("at {}", nth(wave)));
            let why = if why.is_empty() { String::new() } else { format!(": {}", escape(why)) };
            format!("paused {at} by {}{why}", escape(by))
        }
        RolloutState::Halted { why } => format!("halted: {}", escape(why)),
        RolloutState::Finished => "finished".to_owned(),
    }
}

/// How much time is left, if a wave has a deadline.
fn left(rollout: &RolloutStatus) -> String {
    let left = rollout.restraint.deadline.and_then(|deadline| deadline.left_us);
    left.map_or_else(String::new, |left| format!("; it halts in {} otherwise", minutes(left)))
}

/// Whole minutes, so that what is shown does not change with every look.
fn minutes(micros: u64) -> String {
    match micros / 60_000_000 {
        0 => "less than a minute".to_owned(),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

/// All buttons of a rollout.
pub(crate) fn offers(rollout: &RolloutStatus, reach: Reach) -> Vec<Offer> {
    let open = match rollout.state {
        RolloutState::Rolling { wave } => Some(wave),
        RolloutState::Paused { wave, .. } => wave,
        _ => None,
    };
    let offer = |deed, not, says| Offer { deed, not, says, to: None };
    let over = over(rollout);
    let is_paused = matches!(rollout.state, RolloutState::Paused { .. });
    let is_last = open.is_some_and(|open| usize::from(open) + 1 >= rollout.waves.len());
    vec![
        offer("promote", over.or(promote_not(is_paused, is_last)), promote(rollout, open)),
        offer("pause", over.or(is_paused.then_some("it is paused already")), pause(rollout, reach)),
        offer("resume", over.or((!is_paused).then_some("it is not paused")), resume(rollout, open)),
        offer("abort", over, abort(rollout, reach)),
        rollback(rollout, reach),
    ]
}

/// Why nothing can be said about a rollout that is not under way.
fn over(rollout: &RolloutStatus) -> Option<&'static str> {
    match rollout.state {
        RolloutState::Spreading => Some("it is not ordered yet; interrupt its deploy where it runs"),
        RolloutState::Halted { .. } => Some("its rollout has halted already; deploy again, or roll back"),
        RolloutState::Finished => Some("its rollout is finished; rolling back goes back"),
        RolloutState::Rolling { .. } | RolloutState::Paused { .. } => None,
    }
}

fn promote_not(is_paused: bool, is_last: bool) -> Option<&'static str> {
    match (is_paused, is_last) {
        (true, _) => Some("it is paused; resume it first"),
        (_, true) => Some("its last wave is open already"),
        _ => None,
    }
}

fn promote(rollout: &RolloutStatus, open: Option<u8>) -> String {
    let (at, version) = (usize::from(open.unwrap_or(0)), escape(&rollout.version));
    let (now, next) = (rollout.waves.get(at), rollout.waves.get(at + 1));
    let (Some(now), Some(next)) = (now, next) else { return "There is no wave after this one.".to_owned() };
    format!(
        "Wave {} of {} opens now, whatever wave {} does ({} of its {} confirmed, {} failed): {} more may switch to {version}.",
        at + 2,
        rollout.waves.len(),
        at + 1,
        now.confirmed,
        nodes(now.nodes as usize),
        now.failed,
        nodes(next.nodes as usize),
    )
}

fn pause(rollout: &RolloutStatus, reach: Reach) -> String {
    let (version, rest) = (escape(&rollout.version), reach.selected.saturating_sub(reach.live));
    format!(
        "Nobody else switches to {version}: the {} that do not run it yet wait until it is resumed. The {} that run it \
         go on, and still go back by themselves when they are not well.",
        nodes(rest),
        nodes(reach.live),
    )
}

fn resume(rollout: &RolloutStatus, open: Option<u8>) -> String {
    let (version, at) = (escape(&rollout.version), usize::from(open.unwrap_or(0)));
    let reached: u32 = rollout.waves.iter().take(at + 1).map(|wave| wave.nodes).sum();
    format!(
        "The rollout of {version} goes on at wave {} of {}: the {} of the waves up to this one may switch, and later \
         waves open when those before are confirmed.",
        at + 1,
        rollout.waves.len(),
        nodes(reached as usize),
    )
}

fn abort(rollout: &RolloutStatus, reach: Reach) -> String {
    let (version, live) = (escape(&rollout.version), nodes(reach.live));
    let known = |id: &String| rollout.releases.iter().find(|release| release.release == *id);
    match &rollout.fallback {
        Some(back) => {
            let back = known(back).map_or_else(|| "what was there before".to_owned(), |back| escape(&back.version));
            format!(
                "The rollout of {version} ends, for good: nobody else switches, and the {live} that run it go back to {back}."
            )
        }
        None => format!(
            "The rollout of {version} ends, for good: nobody else switches. Nothing was there before, so the {live} that \
             run it keep it."
        ),
    }
}

fn rollback(rollout: &RolloutStatus, reach: Reach) -> Offer {
    let refused = |not, says: &str| Offer { deed: "rollback", not: Some(not), says: says.to_owned(), to: None };
    if rollout.state == RolloutState::Spreading {
        return refused("a deploy of it is under way; interrupt it where it runs, or use `tiding rollback`", "");
    }
    let Ok(back) = publish::choose(rollout, None) else {
        return refused("no release was made before this one", "");
    };
    let says = format!(
        "{} is ordered back to {} from {}, at once and everywhere: {} in one wave, of which {} not connected and \
         get it when they come back. Nothing is sent to nodes that still have it laid out. It is a newer order, and can be rolled back too.",
        escape(&rollout.app),
        escape(&back.version),
        escape(&rollout.version),
        nodes(reach.selected),
        if reach.away == 1 { "1 is".to_owned() } else { format!("{} are", number(reach.away)) },
    );
    Offer { deed: "rollback", not: None, says, to: Some(back.release.clone()) }
}

#[cfg(test)]
mod tests {
    use super::super::pretend::rollout;
    use super::*;

    const REACH: Reach = Reach { selected: 5, live: 2, confirmed: 2, failed: 0, away: 1 };

    fn refused(state: RolloutState) -> Vec<(&'static str, Option<&'static str>)> {
        offers(&rollout(state), REACH).into_iter().map(|offer| (offer.deed, offer.not)).collect()
    }

    fn says(state: RolloutState, deed: &str) -> String {
        let offers = offers(&rollout(state), REACH).into_iter();
        offers.filter(|offer| offer.deed == deed).map(|offer| offer.says).collect()
    }

    #[test]
    fn what_makes_no_sense_now_is_not_offered_and_says_why() {
        let rolling = refused(RolloutState::Rolling { wave: 1 });
        let not = |deed| move |of: &&(&str, Option<&str>)| of.0 == deed && of.1.is_some();
        assert_eq!(rolling.iter().filter(|of| of.1.is_some()).count(), 1);
        assert!(rolling.iter().find(not("resume")).is_some());
        let last = refused(RolloutState::Rolling { wave: 2 });
        assert!(last.contains(&("promote", Some("its last wave is open already"))));
        let paused = refused(RolloutState::Paused { wave: Some(1), by: "bob".into(), why: String::new() });
        assert!(paused.contains(&("promote", Some("it is paused; resume it first"))));
        assert!(paused.contains(&("pause", Some("it is paused already"))) && paused.contains(&("resume", None)));
        for over in [RolloutState::Finished, RolloutState::Halted { why: "x".into() }] {
            let over = refused(over);
            assert_eq!(over.iter().filter(|of| of.1.is_none()).count(), 1, "{over:?}");
            assert!(over.contains(&("rollback", None)));
        }
        assert!(refused(RolloutState::Spreading).iter().all(|of| of.1.is_some()));
        let mut first = rollout(RolloutState::Finished);
        first.releases.drain(..2);
        assert!(offers(&first, REACH).iter().all(|offer| offer.not.is_some()), "nothing was before it");
    }

    #[test]
    fn it_says_what_happens_and_to_how_many() {
        let rolling = || RolloutState::Rolling { wave: 1 };
        assert_eq!(
            says(rolling(), "promote"),
            "Wave 3 of 3 opens now, whatever wave 2 does (1 of its 2 nodes confirmed, 0 failed): 2 nodes more may switch to v-new."
        );
        assert!(says(rolling(), "pause").contains("the 3 nodes that do not run it yet wait"));
        assert!(says(rolling(), "abort").ends_with("the 2 nodes that run it go back to v-old."));
        let back = says(rolling(), "rollback");
        assert!(
            back.contains("back to v-old from v-new") && back.contains("everywhere: 5 nodes in one wave"),
            "{back}"
        );
        assert!(back.contains("of which 1 is not connected"), "{back}");
        let paused = RolloutState::Paused { wave: Some(1), by: "bob".into(), why: String::new() };
        assert!(says(paused, "resume").contains("goes on at wave 2 of 3: the 3 nodes of the waves up to this one"));
    }

    #[test]
    fn a_gate_that_waits_says_so_for_how_long_and_what_opens_it() {
        let mut rollout = rollout(RolloutState::Rolling { wave: 0 });
        let say = "tiding promote web".to_owned();
        rollout.restraint.awaits = Some(crate::api::Awaits { wave: 0, since_us: 250_000_000, say });
        let says = "wave 1 of 3 is confirmed, and waits for a word for 4 min: `tiding promote web`";
        assert_eq!(state(&rollout), says);
        rollout.restraint.deadline = Some(crate::api::Deadline { of_us: 0, left_us: Some(59_000_000) });
        assert_eq!(state(&rollout), format!("{says}; it halts in less than a minute otherwise"));
        rollout.restraint.awaits = None;
        assert_eq!(state(&rollout), "wave 1 of 3 is open; it halts in less than a minute otherwise");
        assert!(offers(&rollout, REACH).iter().any(|offer| offer.deed == "promote" && offer.not.is_none()));
    }

    #[test]
    fn a_state_is_said_in_words_of_one_line() {
        let why = "x\u{1b}[2J".to_owned();
        let paused = RolloutState::Paused { wave: Some(0), by: "bob".into(), why: why.clone() };
        assert_eq!(state(&rollout(paused)), "paused at wave 1 of 3 by bob: x\\u{1b}[2J");
        assert_eq!(state(&rollout(RolloutState::Halted { why })), "halted: x\\u{1b}[2J");
        assert_eq!(state(&rollout(RolloutState::Spreading)), "spreading; the origin has 4 of 10 pieces");
    }
}
