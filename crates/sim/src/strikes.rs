//! How often each fault really struck: what was observed, not what was planned.

use std::collections::BTreeMap;
use std::fmt;

/// Something bad that really happened in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strike {
    /// The power of an agent went while it was up.
    AgentCrash,
    /// The power of an origin went.
    OriginCrash,
    /// The origin went while a deploy was under way.
    OriginCrashMidDeploy,
    /// The power of a publisher went before it was answered.
    PublisherCrash,
    /// The power went inside a call of the disk.
    CrashInCall,
    /// After a crash a switch was found begun and not confirmed.
    CrashBetweenIntentAndConfirm,
    /// The power went while a store was opened after a crash.
    CrashInRecovery,
    /// A crash kept some unsynced sectors of a file and lost others.
    TornWrite,
    /// A crash forgot an unsynced change of names.
    ForgottenName,
    /// Something waited for a cut to heal.
    Partition,
    /// A node switched while it was cut off.
    PartitionDuringSwitch,
    /// Something waited for a cut that was open in the other direction.
    OneWayPartition,
    /// A connection was reset.
    Reset,
    /// A peer was left because nothing came from it for long.
    LeftForSilence,
    /// A packet was lost and sent again.
    Loss,
    /// A job ran on a disk or link that was slow.
    SlowNode,
    /// A call found the disk full.
    DiskFull,
    /// A bit of a stored piece was flipped at rest.
    BitRot,
    /// A rotten piece was noticed before anyone believed it.
    RotNoticed,
    /// A sync failed.
    SyncFailed,
    /// A piece was changed by its sender.
    CorruptPiece,
    /// A piece of the wrong length was sent.
    WrongLength,
    /// A node said that it has what it has not.
    Lie,
    /// A node was convicted by a peer.
    Convicted,
    /// A node that was convicted came, or was introduced, to its judge again in a later life, and was not dealt with.
    ShunnedAfterRestart,
    /// Store and identity of a node were deleted.
    Wiped,
    /// An old order was sent again.
    ReplayedOrder,
    /// An order, or a release, that no operator signed was sent.
    Forgery,
    /// A message arrived again after a new connection.
    Duplicate,
    /// Two deploys were asked for at once.
    TwoAtOnce,
    /// A deploy was refused because another came first.
    Conflict,
    /// A deploy was handed in again.
    Resubmission,
    /// A job found something at the path that is not ours, and refused.
    Occupied,
    /// A rollout halted and fell back.
    FellBack,
    /// A release that is not well was switched to.
    IllRelease,
    /// A node gave a release up by itself.
    GaveUp,
    /// A gate waited for an operator's word.
    GateWaited,
    /// A wave, or a gate, was late, and its rollout halted.
    WaveLate,
    /// A node switched while as many of its group were switching as the order allows with it.
    GroupFull,
    /// A node made a release of what it had.
    Patched,
    /// An origin made a release of a patch that its publisher brought.
    Brought,
    /// A patch could not be made, did not come, or did not do.
    PatchFailed,
}

impl Strike {
    /// Every kind.
    pub const ALL: [Self; 42] = [
        Self::AgentCrash,
        Self::OriginCrash,
        Self::OriginCrashMidDeploy,
        Self::PublisherCrash,
        Self::CrashInCall,
        Self::CrashBetweenIntentAndConfirm,
        Self::CrashInRecovery,
        Self::TornWrite,
        Self::ForgottenName,
        Self::Partition,
        Self::PartitionDuringSwitch,
        Self::OneWayPartition,
        Self::Reset,
        Self::LeftForSilence,
        Self::Loss,
        Self::SlowNode,
        Self::DiskFull,
        Self::BitRot,
        Self::RotNoticed,
        Self::SyncFailed,
        Self::CorruptPiece,
        Self::WrongLength,
        Self::Lie,
        Self::Convicted,
        Self::ShunnedAfterRestart,
        Self::Wiped,
        Self::ReplayedOrder,
        Self::Forgery,
        Self::Duplicate,
        Self::TwoAtOnce,
        Self::Conflict,
        Self::Resubmission,
        Self::Occupied,
        Self::FellBack,
        Self::IllRelease,
        Self::GaveUp,
        Self::GateWaited,
        Self::WaveLate,
        Self::GroupFull,
        Self::Patched,
        Self::Brought,
        Self::PatchFailed,
    ];
}

/// Counts of what struck.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strikes(BTreeMap<Strike, u64>);

impl Strikes {
    /// It struck once more.
    pub fn add(&mut self, strike: Strike) {
        self.add_times(strike, 1);
    }

    /// It struck so many times more.
    pub fn add_times(&mut self, strike: Strike, times: u64) {
        if times > 0 {
            *self.0.entry(strike).or_default() += times;
        }
    }

    /// How often it struck.
    pub fn of(&self, strike: Strike) -> u64 {
        self.0.get(&strike).copied().unwrap_or(0)
    }

    /// What never struck.
    pub fn missing(&self) -> Vec<Strike> {
        Strike::ALL.into_iter().filter(|strike| self.of(*strike) == 0).collect()
    }

    /// Adds another world's counts.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(strike, times)| self.add_times(*strike, *times));
    }
}

impl fmt::Display for Strikes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |strike: Strike| (self.of(strike), words(&format!("{strike:?}")));
        Strike::ALL.into_iter().map(line).try_for_each(|(times, strike)| writeln!(f, "  {times:>9}  {strike}"))
    }
}

/// `CrashInCall` becomes `crash in call`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for (nth, letter) in name.char_indices() {
        if letter.is_uppercase() && nth > 0 {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_what_never_struck_is_said_too() {
        assert!(Strike::ALL.into_iter().enumerate().all(|(nth, strike)| strike as usize == nth));
        assert_eq!(Strike::PatchFailed as usize + 1, Strike::ALL.len(), "the last one is the last one");
        let mut strikes = Strikes::default();
        strikes.add(Strike::BitRot);
        assert_eq!(strikes.missing().len() + 1, Strike::ALL.len());
        assert!(strikes.to_string().contains("0  reset") && strikes.to_string().contains("1  bit rot"), "{strikes}");
    }
}
