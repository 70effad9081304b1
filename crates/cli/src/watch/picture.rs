//! The picture: what is known of a fleet as lines of a terminal of some size. A pure function: the same view is the same picture.
//!
//! Each application is a tree of its waves, with what it waits for; then come the nodes that somebody should look at, and what to do next
//! where something is to be done. What others named is escaped. What cannot be told is said to be unknown.

use super::glance::{Bad, Trouble, bad_nodes, standings};
use crate::words;
use node::api::{FleetStatus, NodeStatus, Role, RolloutState, RolloutStatus, WaveStatus};
use node::escape::escape;
use node::pace::Pace;
use node::page::number;
use node::standing::Standing;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is to be seen.
pub(crate) struct View<'a> {
    pub(crate) status: Option<&'a FleetStatus>,
    /// How fast pieces come, by application.
    pub(crate) paces: &'a BTreeMap<String, Pace>,
    /// How long ago an origin said that it is so.
    pub(crate) age: Duration,
    /// For how long no origin has answered, and why.
    pub(crate) lost: Option<(Duration, &'a str)>,
    /// Seconds since 1970.
    pub(crate) wall: u64,
}

/// What a part of a line looks like, where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Strong,
    Faint,
    Good,
    Busy,
    Warn,
    Bad,
}

/// A line of the picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line(Vec<(Ink, String)>);

impl Line {
    /// A line that begins so.
    pub(crate) fn of(ink: Ink, text: impl Into<String>) -> Self {
        Self(vec![(ink, text.into())])
    }

    /// The same line, and more of it.
    pub(crate) fn and(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.0.push((ink, text.into()));
        self
    }

    /// Its parts, in their order.
    pub(crate) fn parts(&self) -> &[(Ink, String)] {
        &self.0
    }

    /// What of it fits.
    fn cut(self, width: usize) -> Self {
        let length: usize = self.0.iter().map(|(_, text)| text.chars().count()).sum();
        if length <= width {
            return self;
        }
        let mut room = width.saturating_sub(1);
        let mut parts = Vec::new();
        for (ink, text) in self.0 {
            let kept: String = text.chars().take(room).collect();
            room -= kept.chars().count();
            parts.push((ink, kept));
        }
        parts.push((Ink::Faint, "…".to_owned()));
        Self(parts)
    }

    fn faint(self) -> Self {
        Self(self.0.into_iter().map(|(_, text)| (Ink::Faint, text)).collect())
    }
}

/// Nodes that are named at most.
const WORST: usize = 10;
/// Waves that are shown one by one at most, and on a terminal of few lines.
const WAVES: usize = 8;
const FEW_WAVES: usize = 2;
const FEW_LINES: usize = 20;
/// Cells of a bar.
const BAR: usize = 24;
/// Who is away for longer is probably gone.
const GONE: Duration = Duration::from_secs(24 * 3600);

/// The picture of a view, of so many columns and lines at most.
pub(crate) fn lines(view: &View<'_>, width: usize, height: usize) -> Vec<Line> {
    let mut lines = head(view);
    if let Some(status) = view.status {
        let (bad, next) = (worst(status, view.age), next(status, view.age));
        let fixed = lines.len() + next.len();
        let least = bad.len().min(4);
        let most = if height < FEW_LINES { FEW_WAVES } else { WAVES };
        let apps = fitting(apps(status, view, most), height.saturating_sub(fixed + least));
        let bad = fitting(bad, height.saturating_sub(fixed + apps.len()));
        let body = [apps, bad, next].concat();
        lines.extend(match view.lost {
            Some(_) => body.into_iter().map(Line::faint).collect(),
            None => body,
        });
    }
    lines.truncate(height);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

/// As many lines as there is room for; the last one says that there are more.
fn fitting(mut lines: Vec<Line>, room: usize) -> Vec<Line> {
    if lines.len() > room {
        let left = lines.len() - room.saturating_sub(1);
        lines.truncate(room.saturating_sub(1));
        if room > 0 {
            lines.push(Line::of(Ink::Faint, format!("  … {left} lines more; `tiding status` shows all")));
        }
    }
    lines
}

fn head(view: &View<'_>) -> Vec<Line> {
    let moment = words::moment(view.wall);
    let clock = moment.rsplit(' ').next().unwrap_or_default();
    let title = Line::of(Ink::Strong, "tiding");
    let mut lines = match view.status {
        None => vec![title.and(Ink::Plain, format!("  waiting for an origin  {clock} UTC  q ends"))],
        Some(status) => {
            let agents = || status.nodes.iter().filter(|node| node.role == Role::Agent);
            let away = agents().filter(|node| !node.up).count();
            let fleet = format!(
                "  fleet {}, {} of {}: {}",
                words::short(&status.fleet),
                escape(&status.origin_name),
                escape(&status.datacenter),
                counted_as(agents().count(), "agent")
            );
            let away = if away == 0 { String::new() } else { format!(", {} not connected", number(away)) };
            vec![title.and(Ink::Plain, fleet).and(Ink::Warn, away).and(Ink::Faint, format!("  {clock} UTC  q ends"))]
        }
    };
    if let Some((since, why)) = view.lost {
        lines.push(Line::of(Ink::Bad, format!("no origin answers for {}: {}", words::duration(since), escape(why))));
        let old = match view.status {
            Some(_) => format!("STALE: this is as it was {} ago; it is tried again", words::duration(view.age)),
            None => "it is tried again".to_owned(),
        };
        lines.push(Line::of(Ink::Bad, old));
    }
    lines
}

// Applications.

fn apps(status: &FleetStatus, view: &View<'_>, most: usize) -> Vec<Line> {
    if status.apps.is_empty() {
        return vec![Line::default(), Line::of(Ink::Plain, "nothing was deployed yet")];
    }
    // What is over is said last, in a line each.
    let (over, going): (Vec<_>, Vec<_>) = status.apps.iter().partition(|app| app.state == RolloutState::Finished);
    let going = going.into_iter().flat_map(|app| [vec![Line::default()], rollout(status, app, view, most)].concat());
    let gap = (!over.is_empty()).then(Line::default);
    going.chain(gap).chain(over.into_iter().map(|app| title(status, app))).collect()
}

fn rollout(status: &FleetStatus, app: &RolloutStatus, view: &View<'_>, most: usize) -> Vec<Line> {
    let mut lines = vec![title(status, app)];
    lines.extend(because(app, most > FEW_WAVES));
    let counts = standings(status, app);
    lines.extend(spread(app, &counts, view));
    match app.waves.is_empty() {
        true => lines.push(by_standing(&counts)),
        false => lines.extend(waves(app, view.age, most)),
    }
    let failed: u32 = app.waves.iter().map(|wave| wave.failed).sum();
    if failed > 0 {
        let ink = if failed > app.budget { Ink::Bad } else { Ink::Warn };
        lines.push(Line::of(
            ink,
            format!("  {} failed; the order allows {}", number(failed as usize), number(app.budget as usize)),
        ));
    }
    lines
}

/// `web 2.41.0  wave 3 of 4 is open  epoch 41 by alice: why`.
fn title(status: &FleetStatus, app: &RolloutStatus) -> Line {
    let name = Line::of(Ink::Strong, format!("{} {}", escape(&app.app), escape(&app.version)));
    let (ink, state) = state(app);
    let line = name.and(ink, format!("  {state}"));
    let order = format!("  epoch {} by {}", app.epoch, escape(&app.by));
    match app.state {
        RolloutState::Finished => {
            let counts = standings(status, app);
            let all: usize = counts.values().sum();
            let confirmed = counts.get(&Standing::Confirmed).copied().unwrap_or(0);
            let reach = format!(", confirmed on {} of {}", number(confirmed), counted_as(all, "agent"));
            line.and(Ink::Plain, reach).and(Ink::Faint, order)
        }
        _ => line.and(Ink::Faint, order),
    }
}

/// How it goes, in a few words.
pub(crate) fn state(app: &RolloutStatus) -> (Ink, String) {
    let at = |wave: u8| format!("wave {} of {}", u32::from(wave) + 1, app.waves.len().max(usize::from(wave) + 1));
    match &app.state {
        RolloutState::Spreading => (Ink::Busy, "spreading, not ordered yet".to_owned()),
        RolloutState::Rolling { wave } => (Ink::Busy, format!("{} is open", at(*wave))),
        RolloutState::Paused { wave, by, .. } => {
            let at = wave.map_or_else(|| "before its first wave".to_owned(), |wave| format!("at {}", at(wave)));
            (Ink::Warn, format!("PAUSED {at} by {}", escape(by)))
        }
        RolloutState::Halted { .. } => (Ink::Bad, "HALTED".to_owned()),
        RolloutState::Finished => (Ink::Good, "finished".to_owned()),
    }
}

/// Why it was ordered, paused or halted, in the words of whoever did.
fn because(app: &RolloutStatus, has_room: bool) -> Vec<Line> {
    let said = has_room.then_some(("", app.message.as_str())).into_iter();
    let then = match &app.state {
        RolloutState::Paused { why, .. } => Some(("paused: ", why.as_str())),
        RolloutState::Halted { why } => Some(("halted: ", why.as_str())),
        _ => None,
    };
    let said = said.chain(then).filter(|(_, why)| !why.is_empty());
    said.map(|(what, why)| Line::of(Ink::Faint, format!("  {what}{}", escape(why)))).collect()
}

/// How far the pieces are, how fast they come, and when the last will have come; nothing once all are there.
fn spread(app: &RolloutStatus, counts: &BTreeMap<Standing, usize>, view: &View<'_>) -> Option<Line> {
    let pace = view.paces.get(&app.app)?;
    let progress = pace.now()?;
    let waits = counts.contains_key(&Standing::Fetching) || counts.contains_key(&Standing::Waiting);
    if progress.have >= progress.total || !waits {
        return None;
    }
    let part = progress.have as f64 / progress.total.max(1) as f64;
    let filled = (part * BAR as f64) as usize;
    let speed =
        pace.speed().map_or_else(|| "speed unknown".to_owned(), |speed| format!("{}/s in all", words::size(speed)));
    let left = pace.eta().map_or_else(
        || "time left unknown".to_owned(),
        |seconds| match seconds {
            0..100 => format!("{seconds} s left"),
            _ => format!("{} left", words::duration(Duration::from_secs(seconds))),
        },
    );
    let bytes = words::size(progress.bytes);
    let line =
        Line::of(Ink::Plain, "  pieces  ").and(Ink::Busy, "█".repeat(filled)).and(Ink::Faint, "░".repeat(BAR - filled));
    Some(line.and(Ink::Plain, format!("  {:.0} %, {bytes} came, {speed}, {left}", (part * 100.0).floor())))
}

fn by_standing(counts: &BTreeMap<Standing, usize>) -> Line {
    let some =
        counts.iter().map(|(standing, count)| format!("{} {}", number(*count), standing.word().replace('_', " ")));
    Line::of(Ink::Plain, format!("  nodes   {}", some.collect::<Vec<_>>().join(", ")))
}

// Waves.

fn open_wave(app: &RolloutStatus) -> Option<usize> {
    match app.state {
        RolloutState::Rolling { wave } | RolloutState::Paused { wave: Some(wave), .. } => Some(usize::from(wave)),
        _ => None,
    }
}

/// The waves as branches; of very many those about the open one.
fn waves(app: &RolloutStatus, age: Duration, most: usize) -> Vec<Line> {
    let open = open_wave(app);
    let all = app.waves.len();
    let from = open.unwrap_or(0).saturating_sub(most / 3).min(all.saturating_sub(most));
    let to = (from + most).min(all);
    let mut lines = Vec::new();
    if from > 0 {
        let nodes: u32 = app.waves[..from].iter().map(|wave| wave.nodes).sum();
        lines
            .push(Line::of(Ink::Faint, format!("  ├ {}  {}, over", span(1, from), counted_as(nodes as usize, "node"))));
    }
    for (at, wave) in app.waves.iter().enumerate().take(to).skip(from) {
        lines.push(wave_line(app, at, wave, open, age));
    }
    if to < all {
        let nodes: u32 = app.waves[to..].iter().map(|wave| wave.nodes).sum();
        lines.push(Line::of(
            Ink::Faint,
            format!("  └ {}  {}, to come", span(to + 1, all), counted_as(nodes as usize, "node")),
        ));
    }
    lines
}

/// `wave 3`, `waves 3 to 7`.
fn span(from: usize, to: usize) -> String {
    if from == to { format!("wave {from}") } else { format!("waves {from} to {to}") }
}

fn wave_line(app: &RolloutStatus, at: usize, wave: &WaveStatus, open: Option<usize>, age: Duration) -> Line {
    let branch = if at + 1 == app.waves.len() { "└" } else { "├" };
    let line = Line::of(Ink::Faint, format!("  {branch} ")).and(Ink::Plain, format!("wave {:<2} ", at + 1));
    let line = bar(line, wave).and(Ink::Plain, format!("  {}", counted_as(wave.nodes as usize, "node")));
    let line = match waits(app, at, wave, open) {
        Some(waits) if open == Some(at) => line.and(Ink::Busy, format!(", open {}, {waits}", since(app, age))),
        Some(waits) => line.and(Ink::Faint, format!(", {waits}")),
        None => line,
    };
    line.and(Ink::Plain, counted(wave))
}

/// `for 3 min 5 s`, if it is known.
fn since(app: &RolloutStatus, age: Duration) -> String {
    let since = app.since_us.map(|micros| words::duration(Duration::from_micros(micros) + age));
    since.map_or_else(|| "for an unknown time".to_owned(), |since| format!("for {since}"))
}

/// What a wave waits for, if it does.
fn waits(app: &RolloutStatus, at: usize, wave: &WaveStatus, open: Option<usize>) -> Option<String> {
    let settled = wave.confirmed + wave.failed;
    let left = wave.nodes.saturating_sub(settled);
    let awaits = app.restraint.awaits.as_ref().filter(|awaits| usize::from(awaits.wave) == at);
    match (open, &app.state) {
        (Some(open), RolloutState::Paused { .. }) if open == at => Some("waits to be resumed".to_owned()),
        (Some(_), _) if awaits.is_some() => Some("confirmed, WAITS FOR A WORD".to_owned()),
        (Some(open), _) if open == at && left == 0 => Some("about to end".to_owned()),
        (Some(open), _) if open == at && left == wave.away => {
            Some(format!("waits only for {} away", number(left as usize)))
        }
        (Some(open), _) if open == at => Some(format!("waits for {}", number(left as usize))),
        (Some(open), _) if open < at => Some(format!("waits for wave {at}")),
        (None, RolloutState::Rolling { .. } | RolloutState::Paused { .. }) => Some("waits".to_owned()),
        (None, RolloutState::Halted { .. }) if left > 0 => Some("does not open".to_owned()),
        _ => None,
    }
}

/// `: 812 confirmed, 300 live, 888 to begin`.
fn counted(wave: &WaveStatus) -> String {
    let begun = [wave.confirmed, wave.failed, wave.away, wave.live, wave.staged, wave.fetching];
    let left = wave.nodes.saturating_sub(begun.iter().sum());
    let named = ["confirmed", "failed", "away", "live", "staged", "fetching", "to begin"];
    let counts = begun.into_iter().chain([left]).zip(named).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{} {what}", number(count as usize))).collect();
    if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) }
}

/// `1 node`, `2,000 nodes`.
fn counted_as(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A bar whose cells are shared out as the nodes are.
fn bar(line: Line, wave: &WaveStatus) -> Line {
    let parts = [
        (wave.confirmed, "█", Ink::Good),
        (wave.failed, "×", Ink::Bad),
        (wave.live, "▓", Ink::Busy),
        (wave.staged, "▒", Ink::Busy),
    ];
    let all = u64::from(wave.nodes.max(1));
    let (mut line, mut counted, mut cells) = (line, 0, 0);
    for (count, cell, ink) in parts {
        counted += u64::from(count);
        let until = (counted.min(all) * BAR as u64 / all) as usize;
        line = line.and(ink, cell.repeat(until - cells));
        cells = until;
    }
    line.and(Ink::Faint, "░".repeat(BAR - cells))
}

// Who is in trouble, and what next.

fn worst(status: &FleetStatus, age: Duration) -> Vec<Line> {
    let bad = bad_nodes(status);
    if bad.is_empty() {
        return Vec::new();
    }
    let shown = &bad[..bad.len().min(WORST)];
    let wide = shown.iter().map(|bad| escape(&bad.node.name).chars().count()).max().unwrap_or(0).min(30);
    let mut lines = vec![Line::default()];
    lines.extend(shown.iter().map(|bad| bad_line(bad, wide, age)));
    if bad.len() > shown.len() {
        lines.push(Line::of(
            Ink::Faint,
            format!("  and {} more: {}", number(bad.len() - shown.len()), rest(&bad[shown.len()..])),
        ));
    }
    lines
}

fn bad_line(bad: &Bad<'_>, wide: usize, age: Duration) -> Line {
    let ink = match bad.trouble {
        Trouble::Failed | Trouble::FellBack => Ink::Bad,
        Trouble::Stuck | Trouble::Away => Ink::Warn,
        Trouble::Slow => Ink::Faint,
    };
    let name = format!("  {:<wide$}  ", escape(&bad.node.name));
    Line::of(Ink::Plain, name)
        .and(ink, format!("{:<9}", bad.trouble.word()))
        .and(Ink::Plain, format!("  {}", bad.why(age)))
}

/// `3 failed, 20 away`.
fn rest(bad: &[Bad<'_>]) -> String {
    let mut counts: BTreeMap<Trouble, usize> = BTreeMap::new();
    bad.iter().for_each(|bad| *counts.entry(bad.trouble).or_default() += 1);
    let counts = counts.into_iter().map(|(trouble, count)| format!("{} {}", number(count), trouble.word()));
    counts.collect::<Vec<_>>().join(", ")
}

fn next(status: &FleetStatus, age: Duration) -> Vec<Line> {
    let ahead = status.ahead.iter().map(|ahead| {
        let app = escape(&ahead.app);
        (
            format!("tiding deploy … --app {app}"),
            format!(
                "for {} that know a newer order of it than this origin does, and follow nothing older",
                counted_as(ahead.agents as usize, "agent")
            ),
        )
    });
    let apps = status.apps.iter().filter_map(next_of);
    let gone = status.nodes.iter().filter(|node| node.role == Role::Agent && !node.up);
    let gone = gone.max_by_key(|node| node.since_us).filter(|node| away_for(node) + age > GONE);
    let gone = gone.map(|node| {
        let name = escape(&node.name);
        (
            format!("tiding forget {name}"),
            format!("if it is gone for good; it is away for {}", words::duration(away_for(node) + age)),
        )
    });
    let all: Vec<Line> = ahead.chain(apps).chain(gone).take(4).map(|(command, why)| step(command, why)).collect();
    if all.is_empty() { all } else { [vec![Line::default()], all].concat() }
}

fn away_for(node: &NodeStatus) -> Duration {
    Duration::from_micros(node.since_us)
}

fn step(command: String, why: String) -> Line {
    Line::of(Ink::Plain, "next  ").and(Ink::Strong, command).and(Ink::Faint, format!("  {why}"))
}

/// The command that a rollout waits for, if it waits for one.
fn next_of(app: &RolloutStatus) -> Option<(String, String)> {
    let name = escape(&app.app);
    let open = open_wave(app).and_then(|open| app.waves.get(open).map(|wave| (open, wave)));
    match (&app.state, open) {
        (RolloutState::Paused { .. }, _) => {
            Some((format!("tiding resume {name}"), "when it is to go on; `tiding abort` when it is not".to_owned()))
        }
        (RolloutState::Halted { .. }, _) => Some((
            format!("tiding rollback {name}"),
            "or deploy a release that does well; who failed and why stands above".to_owned(),
        )),
        (RolloutState::Rolling { .. }, _) if app.restraint.awaits.is_some() => {
            let say = app.restraint.awaits.as_ref().map(|awaits| escape(&awaits.say).to_string());
            Some((say?, "opens the next wave; `tiding abort` when it is not well".to_owned()))
        }
        (RolloutState::Rolling { .. }, Some((open, wave)))
            if wave.away > 0
                && wave.nodes == wave.confirmed + wave.failed + wave.away
                && open + 1 < app.waves.len() =>
        {
            Some((format!("tiding promote {name}"), format!("if wave {} is not to wait for who is away", open + 1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pretend::{away, fleet, in_trouble, large, node, plain, rollout, view, wave};
    use super::*;
    use node::api::{Ahead, Phase};
    use node::pace::Progress;
    use std::time::Instant;

    /// Holds a picture against the one that is kept beside this file.
    fn golden(name: &str, kept: &str, picture: &str) {
        assert!(kept == picture, "{name} is now:\n{picture}\nand was:\n{kept}");
    }

    /// A pace of so many hundredths of the pieces of these nodes in four seconds.
    fn paces(progress: [u64; 2], nodes: u64) -> BTreeMap<String, Pace> {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for (at, have) in progress.into_iter().enumerate() {
            let progress = Progress { have: have * nodes, total: 100 * nodes, bytes: have * nodes * 61_000 };
            pace.learn(start + Duration::from_secs(at as u64 * 4), "new", progress);
        }
        BTreeMap::from([("web".to_owned(), pace)])
    }

    #[test]
    fn five_thousand_nodes_in_the_third_of_four_waves() {
        let (status, paces) = (large(), paces([60, 92], 5000));
        golden("large", include_str!("golden/large.txt"), &plain(&view(&status, &paces), 140, 40));
    }

    #[test]
    fn a_small_terminal_shows_what_matters_most() {
        let (status, paces) = (large(), paces([60, 92], 5000));
        let picture = plain(&view(&status, &paces), 60, 12);
        golden("small", include_str!("golden/small.txt"), &picture);
        for height in 0..40 {
            for width in [0, 1, 7, 40, 300] {
                let picture = plain(&view(&status, &paces), width, height);
                assert!(picture.lines().count() <= height, "{width}x{height}:\n{picture}");
                assert!(
                    picture.lines().all(|line| line.chars().count() <= width.max(1)),
                    "{width}x{height}:\n{picture}"
                );
            }
        }
    }

    #[test]
    fn who_paused_it_why_and_how_it_goes_on() {
        let state = RolloutState::Paused { wave: Some(0), by: "bob".into(), why: "looking at the error rate".into() };
        let nodes = vec![node("web-1", Some(Phase::Confirmed), 100), node("web-2", Some(Phase::Staged), 100)];
        let status = fleet(nodes, rollout(state, vec![wave(1, 1), wave(1, 0)]));
        golden("paused", include_str!("golden/paused.txt"), &plain(&view(&status, &BTreeMap::new()), 100, 24));
    }

    #[test]
    fn a_halt_says_who_failed_and_what_next() {
        let why = "1 node failed, and the order allows 0";
        let app =
            rollout(RolloutState::Halted { why: why.into() }, vec![WaveStatus { failed: 1, ..wave(1, 0) }, wave(2, 0)]);
        let nodes = vec![
            in_trouble("web-1", Phase::FellBack, "http://127.0.0.1/health: 500"),
            node("web-2", Some(Phase::Staged), 100),
            away("web-3", 200_000),
        ];
        let status = fleet(nodes, RolloutStatus { budget: 0, ..app });
        golden("halted", include_str!("golden/halted.txt"), &plain(&view(&status, &BTreeMap::new()), 100, 24));
    }

    #[test]
    fn w7_an_origin_that_is_gone_leaves_an_old_picture_that_says_so() {
        let nodes = vec![node("web-1", Some(Phase::Live), 100), away("web-2", 40)];
        let waiting = WaveStatus { live: 1, away: 1, ..wave(2, 0) };
        let status = fleet(nodes, rollout(RolloutState::Rolling { wave: 0 }, vec![waiting]));
        let paces = BTreeMap::new();
        let lost = Some((Duration::from_secs(12), "10.0.0.5:7443: connection refused"));
        let gone = View { lost, age: Duration::from_secs(15), ..view(&status, &paces) };
        golden("lost", include_str!("golden/lost.txt"), &plain(&gone, 100, 24));
        assert!(
            lines(&gone, 100, 24)[3..].iter().flat_map(Line::parts).all(|(ink, _)| *ink == Ink::Faint),
            "it is grey"
        );
        let nothing = View { status: None, ..gone };
        assert!(plain(&nothing, 100, 24).contains("waiting for an origin"));
    }

    #[test]
    fn a_release_that_spreads_has_no_waves_and_an_unknown_time_is_no_number() {
        let nodes = (0..4).map(|at| node(&format!("web-{at}"), Some(Phase::Fetching), 20 + at)).collect();
        let status = fleet(nodes, rollout(RolloutState::Spreading, Vec::new()));
        let (begun, known) = (paces([20, 20], 4), paces([20, 60], 4));
        golden("spreading", include_str!("golden/spreading.txt"), &plain(&view(&status, &begun), 100, 24));
        let line = |paces| {
            plain(&view(&status, paces), 120, 24).lines().find(|line| line.contains("pieces")).map(str::to_owned)
        };
        assert!(
            line(&known).is_some_and(|line| line.contains("60 %") && line.ends_with("2.4 MB/s in all, 4 s left")),
            "{:?}",
            line(&known)
        );
    }

    #[test]
    fn of_many_waves_those_about_the_open_one_are_shown() {
        let waves = (0..30).map(|at| wave(10, if at < 12 { 10 } else { 0 })).collect();
        let status =
            fleet(vec![node("web-1", Some(Phase::Confirmed), 100)], rollout(RolloutState::Rolling { wave: 12 }, waves));
        let picture = plain(&view(&status, &BTreeMap::new()), 100, 40);
        assert!(
            picture.contains("waves 1 to 10  100 nodes, over")
                && picture.contains("waves 19 to 30  120 nodes, to come"),
            "{picture}"
        );
        assert!(picture.contains("wave 13") && picture.contains("open for 3 min 5 s, waits for 10"), "{picture}");
    }

    #[test]
    fn an_origin_that_was_started_again_does_not_know_since_when() {
        let app = RolloutStatus { since_us: None, ..rollout(RolloutState::Rolling { wave: 0 }, vec![wave(2, 0)]) };
        let status = fleet(Vec::new(), app);
        let picture = plain(&view(&status, &BTreeMap::new()), 120, 24);
        assert!(picture.contains("open for an unknown time, waits for 2"), "{picture}");
    }

    #[test]
    fn the_command_that_is_needed_next_is_said() {
        let next = |status: &FleetStatus| {
            let picture = plain(&view(status, &BTreeMap::new()), 200, 40);
            picture
                .lines()
                .filter_map(|line| line.strip_prefix("next  "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let rolling = |waves| fleet(Vec::new(), rollout(RolloutState::Rolling { wave: 0 }, waves));
        let mut gated = rolling(vec![wave(2, 2), wave(3, 0)]);
        let awaits = node::api::Awaits { wave: 0, since_us: 1, say: "tiding promote web".to_owned() };
        gated.apps[0].restraint.awaits = Some(awaits);
        assert!(next(&gated).starts_with("tiding promote web  opens the next wave"), "{}", next(&gated));
        assert!(plain(&view(&gated, &BTreeMap::new()), 200, 40).contains("WAITS FOR A WORD"));
        let waits = WaveStatus { away: 1, ..wave(2, 1) };
        assert!(next(&rolling(vec![waits, wave(3, 0)])).starts_with("tiding promote web"));
        assert_eq!(next(&rolling(vec![waits])), "", "there is no wave after it");
        assert_eq!(
            next(&rolling(vec![WaveStatus { live: 1, away: 1, ..wave(3, 1) }, wave(3, 0)])),
            "",
            "one is on its way"
        );
        let gone = fleet(vec![away("web-9", 90_000)], rollout(RolloutState::Finished, vec![wave(1, 0)]));
        assert!(next(&gone).starts_with("tiding forget web-9  if it is gone for good"));
        let ahead = vec![Ahead { app: "web".into(), epoch: 44, agents: 3 }];
        assert!(
            next(&FleetStatus { ahead, ..rolling(vec![wave(1, 1)]) })
                .contains("--app web  for 3 agents that know a newer order")
        );
    }

    #[test]
    fn f19_what_others_named_steers_no_terminal() {
        let evil = "x\x1b[2J\u{202e}\n";
        let mut app = rollout(RolloutState::Paused { wave: None, by: evil.into(), why: evil.into() }, Vec::new());
        (app.app, app.version, app.by, app.message) = (evil.into(), evil.into(), evil.into(), evil.into());
        let mut node = in_trouble(evil, Phase::Failed, evil);
        (node.apps[0].app, node.since_us) = (evil.into(), 1);
        let gone = NodeStatus { up: false, since_us: u64::MAX / 2, node: "other".into(), ..node.clone() };
        let ahead = vec![Ahead { app: evil.into(), epoch: 1, agents: 1 }];
        let status = FleetStatus {
            origin_name: evil.into(),
            datacenter: evil.into(),
            fleet: evil.into(),
            ahead,
            ..fleet(vec![node, gone], app)
        };
        let halted = RolloutStatus { state: RolloutState::Halted { why: evil.into() }, ..status.apps[0].clone() };
        for status in [FleetStatus { apps: vec![halted], ..status.clone() }, status] {
            let paces = BTreeMap::new();
            let lost = Some((Duration::ZERO, evil));
            let picture = plain(&View { lost, ..view(&status, &paces) }, 1000, 100);
            assert!(!picture.contains('\x1b') && !picture.contains('\u{202e}'), "{picture:?}");
            assert!(picture.contains("\\u{1b}[2J"), "{picture}");
        }
    }

    /// What watching five thousand nodes costs: to read a status, to look at it, and to paint it.
    #[test]
    #[ignore = "it measures, and proves nothing"]
    fn what_a_picture_of_five_thousand_costs() {
        let status = large();
        let json = serde_json::to_vec(&status).expect("a status is JSON");
        let paces = paces([60, 92], 5000);
        let times = |what: &str, mut act: Box<dyn FnMut() + '_>| {
            let start = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            (0..50).for_each(|_| act());
            let end = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let took = (end.tv_sec - start.tv_sec) as f64 + (end.tv_nsec - start.tv_nsec) as f64 / 1e9;
            eprintln!("{what}: {:.1} ms of processor time each", took * 1000.0 / 50.0);
        };
        eprintln!("a status of {} bytes", json.len());
        times("read", Box::new(|| drop(serde_json::from_slice::<FleetStatus>(&json).expect("a status"))));
        times("look", Box::new(|| assert!(Progress::of(status.nodes.iter(), &status.apps[0]).total > 0)));
        times("paint", Box::new(|| drop(lines(&view(&status, &paces), 200, 60))));
    }
}
