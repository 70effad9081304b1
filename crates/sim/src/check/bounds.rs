//! Memory and queues are bounded, and back at their baseline when all is quiet.

use crate::host::Run;
use crate::net::Nr;
use engine::door::MAX_OFFERS;

/// The window that engines are given: payload bytes under way to a node at once.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// Beyond the window: one piece from each sender may be on its way while the engine changes its mind.
const SLACK_BYTES: u64 = 16 * 128 * 1024;
/// Jobs that may wait for a store's single thread.
const MAX_JOBS: usize = 64;
/// Pieces that may wait to be sent.
const MAX_BULK: usize = 1024;
/// What an engine may have asked for, of peers, host and journal.
const MAX_IN_FLIGHT: usize = 512;
/// What peers may wait for at one engine: more than 256 each are refused.
const MAX_QUEUED: usize = 4096;
/// Contents that an engine may know: of the newest order, its fallback, the kept ones, one that comes; two each.
const MAX_CONTENTS: usize = 16;

/// What is too much on a node that works, in a world with patches or one without.
pub(crate) fn wrong(nr: Nr, run: &Run, patches: bool) -> Option<String> {
    let buffered = run.buffered();
    if buffered > WINDOW_BYTES + SLACK_BYTES {
        return Some(format!("node {nr} holds {buffered} bytes of payloads, and its window is {WINDOW_BYTES}"));
    }
    if run.work.len() > MAX_JOBS {
        return Some(format!("node {nr} has {} jobs waiting: {:?}", run.work.len(), run.work.back()));
    }
    let held = run.engine.footprint();
    // A patch is a content too, and of no more of them is anyone told.
    let contents = MAX_CONTENTS + if patches { MAX_OFFERS } else { 0 };
    if held.in_flight > MAX_IN_FLIGHT || held.queued > MAX_QUEUED || held.contents > contents {
        return Some(format!("the engine of node {nr} holds too much: {held:?}"));
    }
    (run.bulk.len() > MAX_BULK).then(|| format!("node {nr} has {} pieces waiting to be sent", run.bulk.len()))
}

/// What is left on a node when all is quiet.
pub(crate) fn left(nr: Nr, run: &Run) -> Option<String> {
    let (buffers, idle) = (run.buffers.len(), run.is_idle());
    if buffers > 0 {
        return Some(format!("node {nr} still holds {buffers} payloads though all is quiet"));
    }
    let held = run.engine.footprint();
    if held.in_flight + held.queued > 0 {
        return Some(format!("the engine of node {nr} still holds {held:?} though all is quiet"));
    }
    (!idle).then(|| {
        let (jobs, writes, bulk) = (run.work.len(), run.writes.len() + run.writing, run.bulk.len());
        format!("node {nr} still has {jobs} jobs, {writes} writes and {bulk} pieces to send though all is quiet")
    })
}
