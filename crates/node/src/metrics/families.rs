//! Every metric there is: its name, kind, labels, who serves it and what it says. Nothing is served that does not stand here, and
//! the page of the documentation, the alerts and the board are held against this list.
//!
//! Names follow the conventions of Prometheus: base units, `_total` for what only rises. Labels have few values: applications (200 at
//! most), and words of fixed lists; never nodes, releases or people.

/// What a value means over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, and begins at nothing when the node starts.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often something took at most so long.
    Histogram,
}

impl Kind {
    /// As it is said in the text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Who serves a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Every node.
    Node,
    /// Agents.
    Agent,
    /// Origins.
    Origin,
}

impl Who {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "every node",
            Self::Agent => "agents",
            Self::Origin => "origins",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its values mean over time.
    pub kind: Kind,
    /// Who serves it.
    pub who: Who,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence without its point.
    pub help: &'static str,
}

macro_rules! families {
    ($($name:ident: $text:literal $kind:ident $who:ident [$($label:literal)*] $help:literal;)*) => {
        $(pub(crate) static $name: Family = Family {
            name: $text,
            kind: Kind::$kind,
            who: Who::$who,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All of them, in the order in which they are served.
        pub static FAMILIES: &[&Family] = &[$(&$name),*];
    };
}

families! {
    BUILD: "tiding_build_info" Gauge Node ["version" "role"] "Always 1; the software's version, and whether this is an agent or an origin";
    PROCESS_START: "process_start_time_seconds" Gauge Node [] "When this node started, in seconds since 1970";
    PROCESS_CPU: "process_cpu_seconds_total" Counter Node [] "Processor time that the process has taken, in seconds";
    PROCESS_MEMORY: "process_resident_memory_bytes" Gauge Node [] "Memory of the process that is resident, in bytes";
    PROCESS_FDS: "process_open_fds" Gauge Node [] "Open file descriptors";
    PROCESS_MAX_FDS: "process_max_fds" Gauge Node [] "File descriptors that the process may have";
    CERTIFICATE: "tiding_certificate_expiry_timestamp_seconds" Gauge Node ["of"] "When a certificate ends, in seconds since 1970: of this node, or of the fleet's CA that signed it";
    DISK_FREE: "tiding_disk_free_bytes" Gauge Node [] "What is free for this node on the file system of its home, in bytes";
    DISK_SIZE: "tiding_disk_size_bytes" Gauge Node [] "The size of that file system, in bytes";
    INODES_FREE: "tiding_disk_free_inodes" Gauge Node [] "Files that this file system can still hold";
    INODES: "tiding_disk_inodes" Gauge Node [] "Files that it can hold in all; 0 where it has no such bound";
    STORE: "tiding_store_bytes" Gauge Node [] "What the files in the node's store take on disk, in bytes; looked at once a minute, and absent above a hundred thousand files";
    CONNECTIONS: "tiding_connections_total" Counter Node [] "Connections that came to the node's port";
    STRANGERS: "tiding_connections_refused_total" Counter Node [] "Connections that were not let in, or broke before they were served: strangers, and whoever was cut off";
    PEERS: "tiding_peers" Gauge Node ["role"] "Peers that are connected, by what their certificates say they are; an operator is one who publishes";
    RECEIVED_BYTES: "tiding_received_bytes_total" Counter Node ["from"] "Payload bytes that came, by whom they came from";
    RECEIVED_PIECES: "tiding_received_pieces_total" Counter Node ["from"] "Pieces that came, by whom they came from";
    SENT_BYTES: "tiding_sent_bytes_total" Counter Node ["to"] "Payload bytes that left, by whom they went to";
    SENT_PIECES: "tiding_sent_pieces_total" Counter Node ["to"] "Pieces that left, by whom they went to";
    CORRUPT: "tiding_corrupt_pieces_total" Counter Node [] "Pieces that came and were not what they should be; none was stored, passed on or believed";
    CONVICTIONS: "tiding_convictions_total" Counter Node ["of"] "Peers that are not dealt with any more, by what they did";
    LATE: "tiding_late_pieces_total" Counter Node [] "Pieces that did not come in time and were asked for elsewhere";
    QUARANTINED: "tiding_quarantined_pieces_total" Counter Node [] "Pieces that were damaged on this node's own disk and were fetched again";
    PLAIN_ROADS: "tiding_plain_roads_total" Counter Node [] "How often peers were of no help and the origin was asked directly";
    PATCHES_MADE: "tiding_patches_made_total" Counter Node [] "Patches that this node made of what others run";
    PATCHES_APPLIED: "tiding_patches_applied_total" Counter Node [] "Contents that this node made from another one and a patch";
    PATCHES_FAILED: "tiding_patches_failed_total" Counter Node [] "Patches that could not be made, did not come or did not do; the pieces came instead";
    PATCHES_SAVED: "tiding_patches_saved_bytes_total" Counter Node [] "Bytes that need not come because patches did";
    DISTRUSTED: "tiding_refused_documents_total" Counter Node [] "Orders, releases and trust roots that were not believed, or were older than what is known";
    FAILED_JOBS: "tiding_failed_jobs_total" Counter Node [] "Work on disk that failed, to be tried again or given up";
    ORIGIN_CONTACT: "tiding_origin_contact_timestamp_seconds" Gauge Agent [] "When an origin was last heard, in seconds since 1970; absent as long as none was in this life";
    APPS: "tiding_apps" Gauge Agent [] "Applications that this agent knows; of the first 200 there are figures";
    APP_PHASE: "tiding_app_phase" Gauge Agent ["app" "phase"] "1 for the phase in which an application is on this agent, 0 for the others";
    APP_PIECES: "tiding_app_pieces" Gauge Agent ["app"] "Pieces of an application's newest release that are here";
    APP_WANTED: "tiding_app_pieces_wanted" Gauge Agent ["app"] "Pieces that this release has in all";
    APP_CONFIRMED: "tiding_app_confirmed_timestamp_seconds" Gauge Agent ["app"] "When a release of an application was last confirmed here, in seconds since 1970; absent until that happens in this life";
    APP_TROUBLE: "tiding_app_in_trouble" Gauge Agent ["app"] "1 when something is in the way of an application here; `tiding status` says what";
    SWITCH_FAILURES: "tiding_switch_failures_total" Counter Agent [] "How often a path could not be swung to a release";
    SWITCHES: "tiding_switch_duration_seconds" Histogram Agent [] "How long it took to swing a path to a release, in seconds";
    HOOK_FAILURES: "tiding_hook_failures_total" Counter Agent ["moment"] "Commands of releases that failed, by when they run";
    HOOKS: "tiding_hook_duration_seconds" Histogram Agent ["moment"] "How long commands of releases took, in seconds";
    PROBE_FAILURES: "tiding_probe_failures_total" Counter Agent [] "Rounds of health probes that did not go well";
    PROBES: "tiding_probe_duration_seconds" Histogram Agent [] "How long rounds of health probes took, in seconds";
    GIVEN_UP: "tiding_orders_given_up_total" Counter Agent [] "Orders that failed here and are not tried again";
    NODES: "tiding_origin_nodes" Gauge Origin ["state"] "Agents of the fleet, connected (up) and not (away)";
    ROLLOUTS: "tiding_origin_rollouts" Gauge Origin ["state"] "Applications, by how their newest rollout goes";
    ROLLOUT_STATE: "tiding_origin_rollout_state" Gauge Origin ["app" "state"] "1 for the state of an application's newest rollout, 0 for the others";
    ROLLOUT_SINCE: "tiding_origin_rollout_state_age_seconds" Gauge Origin ["app"] "For how long a rollout has been in its state, with its wave open; absent when this origin has not seen it begin";
    ROLLOUT_EPOCH: "tiding_origin_rollout_epoch" Gauge Origin ["app"] "The epoch of an application's newest order";
    ROLLOUT_WAVE: "tiding_origin_rollout_wave" Gauge Origin ["app"] "Which wave is open, from 1; 0 before the first and when the rollout is over";
    ROLLOUT_WAVES: "tiding_origin_rollout_waves" Gauge Origin ["app"] "How many waves there are";
    ROLLOUT_NODES: "tiding_origin_rollout_nodes" Gauge Origin ["app" "standing"] "Agents that an order selects, by how they stand with it";
    ROLLOUT_BUDGET: "tiding_origin_rollout_budget" Gauge Origin ["app"] "How many agents may fail before the rollout halts";
    AHEAD: "tiding_origin_ahead_agents" Gauge Origin ["app"] "Agents that have accepted newer orders than this origin knows: it has lost its state, or runs an old copy";
    JOURNAL_FACTS: "tiding_journal_facts" Gauge Origin ["journal"] "How many facts stand in a journal";
    JOURNAL_GENERATION: "tiding_journal_generation" Gauge Origin ["journal"] "The generation that writes a journal; a restore begins another one";
    JOINS: "tiding_origin_joins_total" Counter Origin [] "Machines that joined";
    REFUSED_JOINS: "tiding_origin_joins_refused_total" Counter Origin [] "Attempts to join that were refused: a wrong line, or one that is used up, expired or taken back";
    SUBMISSION_FAILURES: "tiding_origin_submission_failures_total" Counter Origin [] "Deploys that were brought and refused";
    SUBMISSIONS: "tiding_origin_submission_duration_seconds" Histogram Origin [] "How long deploys took from when they were brought until their order stood, in seconds";
    NODE_FAILURES: "tiding_origin_node_failures_total" Counter Origin [] "How often an agent said that an order failed on it, or that it went back";
    TIME_TO_LIVE: "tiding_origin_node_live_seconds" Histogram Origin [] "How long agents took until a release was live, since they were told of it, as they say; waiting for their wave included";
    TIME_TO_CONFIRMED: "tiding_origin_node_confirmed_seconds" Histogram Origin [] "How long agents took until a release was confirmed, since they were told of it, as they say";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_and_are_there_once() {
        let mut seen = BTreeSet::new();
        for family in FAMILIES {
            let name = family.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("tiding_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(family.kind != Kind::Histogram || name.ends_with("_seconds"), "{name} has a base unit");
            assert!(!family.help.ends_with('.') && !family.help.contains('\n'), "{name}");
            assert!(
                !family.labels.iter().any(|label| ["node", "name", "le"].contains(label)),
                "{name} grows with the fleet"
            );
        }
    }
}
