//! What the network half gives away when it starts: everything but its own home and the network.
//!
//! It executes nothing and writes nowhere but in its home; nothing it could be made to do gets any of that back, and no program it found could
//! gain by being set to another user. Landlock does it where the kernel has it; where it has not, that is said. Capabilities it has none, as it is not root. It must be called while the process has one thread, as
//! threads inherit what was given away, and only from who starts them.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use std::path::Path;

/// The newest rules that are known here; older kernels enforce what they know of them.
const RULES: ABI = ABI::V5;
/// What is read besides the home, where it is: the names of hosts and who resolves them (which `/etc` leads to elsewhere, and the C library loads
/// libraries for), time zones, what the kernel says of this process, randomness.
const READ: [&str; 10] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/proc",
    "/sys",
    "/dev",
];

/// How much could be given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confined {
    /// All of it.
    Wholly,
    /// What an older kernel knows of it.
    Partly,
    /// The file system is as open as to any process of this user; why.
    Not(String),
}

/// Gives away what a network half with this home does not need; how much that was is for the log.
pub fn network_half(home: &Path) -> Confined {
    let made = crate::home::private_dirs(home);
    match made.map_err(|error| error.to_string()).and_then(|()| restrict(home).map_err(|error| error.to_string())) {
        Ok(RulesetStatus::FullyEnforced) => Confined::Wholly,
        Ok(RulesetStatus::PartiallyEnforced) => Confined::Partly,
        Ok(RulesetStatus::NotEnforced) => {
            Confined::Not("the kernel has no Landlock, or one that forbids to move files".to_owned())
        }
        Err(why) => Confined::Not(why),
    }
}

fn restrict(home: &Path) -> Result<RulesetStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let own = AccessFs::from_write(RULES) | read;
    // A kernel that knows no rule for moving between directories (before 5.19) forbids it once it enforces anything, and what has come is moved.
    let movable = Ruleset::default().set_compatibility(CompatLevel::SoftRequirement).handle_access(AccessFs::Refer)?;
    let rules =
        movable.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(RULES))?.create()?;
    let rules = rules.add_rules(path_beneath_rules(READ, read))?.add_rules(path_beneath_rules([home], own))?;
    Ok(rules.restrict_self()?.ruleset)
}
