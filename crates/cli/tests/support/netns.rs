//! A small network of namespaces around one bridge, each with one machine, on which things can be cut. Everything is removed at the end.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where nodes listen in their namespaces.
pub const PORT: u16 = 7443;
/// A hardware address that nobody has.
const NOBODY: &str = "02:00:00:00:00:99";

/// The namespaces: a hub, and one for each machine, numbered from 0.
pub struct Net {
    tag: String,
    machines: u8,
}

impl Net {
    /// So many machines that all reach each other; `None` where this process may not make them.
    pub fn new(machines: u8) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("tdg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Self { tag, machines };
        net.build().then_some(net)
    }

    fn build(&self) -> bool {
        let hub = self.hub();
        ip(&["netns", "add", &hub])
            && ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])
            && ip(&["-n", &hub, "link", "set", "br0", "up"])
            && (0..self.machines).all(|nr| self.plug(nr))
    }

    fn plug(&self, nr: u8) -> bool {
        let (hub, space, port) = (self.hub(), self.space(nr), format!("v{nr}"));
        let cable = ["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space];
        ip(&["netns", "add", &space])
            && ip(&cable)
            && ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"])
            && ip(&["-n", &space, "link", "set", "lo", "up"])
            && ip(&["-n", &space, "address", "add", &format!("{}/24", self.address(nr)), "dev", "eth0"])
            && ip(&["-n", &space, "link", "set", "eth0", "up"])
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    /// The namespace of a machine.
    pub fn space(&self, nr: u8) -> String {
        format!("{}-{nr}", self.tag)
    }

    /// The address of a machine.
    pub fn address(&self, nr: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, nr + 1)
    }

    /// What runs a program on a machine.
    pub fn on(&self, nr: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(nr)].map(str::to_owned).into()
    }

    /// The cable of a machine is pulled: nobody is told.
    pub fn unplug(&self, nr: u8) {
        assert!(ip(&["-n", &self.hub(), "link", "set", &format!("v{nr}"), "nomaster"]));
    }

    /// And put in again.
    pub fn plug_in(&self, nr: u8) {
        assert!(ip(&["-n", &self.hub(), "link", "set", &format!("v{nr}"), "master", "br0"]));
    }

    /// From now on nothing from one machine reaches the other; what goes the other way does.
    pub fn cut(&self, from: u8, to: u8) {
        let to = self.address(to).to_string();
        let to_nobody = ["neighbour", "replace", &to, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0"];
        assert!(ip(&[&["-n", &self.space(from)], &to_nobody[..]].concat()));
    }

    /// It does again.
    pub fn heal(&self, from: u8, to: u8) {
        let to = self.address(to).to_string();
        assert!(ip(&["-n", &self.space(from), "neighbour", "delete", &to, "dev", "eth0"]));
    }

    /// From now on machines send each packet by itself, as cables carry them. Else the kernel hands several over as one, and
    /// no cable here is too narrow for that. Connections that are there already do not heed it.
    pub fn packets_one_by_one(&self) {
        for nr in 0..self.machines {
            assert!(ip(&["-n", &self.space(nr), "link", "set", "dev", "eth0", "gso_max_segs", "1"]));
        }
    }

    /// From now on packets longer than this vanish on the cable of a machine, both ways. Nobody is told, and both ends go on
    /// believing that longer ones pass.
    pub fn narrow(&self, nr: u8, longest: u32) {
        assert!(ip(&["-n", &self.hub(), "link", "set", "dev", &format!("v{nr}"), "mtu", &longest.to_string()]));
    }

    /// Whether so many bytes at once from one machine reach a node on the other: it hangs up on nonsense that it has read.
    pub fn carries(&self, bytes: u32, from: u8, to: u8) -> bool {
        let say = format!("exec 3<>/dev/tcp/{}/{PORT}; head -c {bytes} /dev/zero >&3; cat <&3; true", self.address(to));
        well(Command::new("ip").args(["netns", "exec", &self.space(from), "timeout", "2", "bash", "-c", &say]))
    }

    /// Whether a connection from one machine to a node on the other comes to be.
    pub fn reaches(&self, from: u8, to: u8) -> bool {
        let dial = format!("exec 3<>/dev/tcp/{}/{PORT}", self.address(to));
        well(Command::new("ip").args(["netns", "exec", &self.space(from), "timeout", "2", "bash", "-c", &dial]))
    }

    /// A machine gets another address instead of its own, the one that ends like this.
    pub fn renumber(&self, nr: u8, last: u8) {
        let space = self.space(nr);
        assert!(ip(&["-n", &space, "address", "add", &format!("10.77.0.{last}/24"), "dev", "eth0"]));
        assert!(ip(&["-n", &space, "address", "delete", &format!("{}/24", self.address(nr)), "dev", "eth0"]));
        // The second address of a network may go with the first.
        ip(&["-n", &space, "address", "add", &format!("10.77.0.{last}/24"), "dev", "eth0"]);
    }

    /// Every other machine forgets where on the bridge an address of this network is, and asks anew.
    pub fn forget_where(&self, last: u8) {
        (0..self.machines).for_each(|nr| {
            // Who has never spoken to it has nothing to forget.
            ip(&["-n", &self.space(nr), "neighbour", "flush", "to", &format!("10.77.0.{last}"), "dev", "eth0"]);
        });
    }

    /// What leaves a machine goes through a shaper from now on; false where there is none.
    pub fn shape(&self, nr: u8, rate: &str) -> bool {
        let rate = ["tbf", "rate", rate, "burst", "16kb", "latency", "200ms"];
        let space = self.space(nr);
        well(Command::new("tc").args(["-n", &space, "qdisc", "replace", "dev", "eth0", "root"]).args(rate))
    }

    /// Whether the shaper held anything back.
    pub fn was_shaped(&self, nr: u8) -> bool {
        let shown = Command::new("tc").args(["-n", &self.space(nr), "-s", "qdisc", "show", "dev", "eth0"]).output();
        let shown = String::from_utf8_lossy(&shown.expect("tc runs").stdout).into_owned();
        let over = shown.split("overlimits ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        over.is_some_and(|over| over > 0)
    }

    /// A machine loses some of what comes to it from now on, in hundredths, wherever in the whole it is; false where nft cannot.
    pub fn lose(&self, nr: u8, percent: u32) -> bool {
        let rules = format!(
            "add table inet faults\nadd counter inet faults lost\n\
             add chain inet faults input {{ type filter hook input priority 0; }}\nflush chain inet faults input\n\
             add rule inet faults input iifname eth0 numgen random mod 100 < {percent} counter name lost drop\n"
        );
        self.nft(nr, &rules)
    }

    /// How many packets it has lost so.
    pub fn lost(&self, nr: u8) -> u64 {
        self.counted(nr, "lost")
    }

    /// Questions to any resolver that a machine sends, or that anything on it sends to itself, are counted from now on; false
    /// where nft cannot.
    pub fn count_questions(&self, nr: u8) -> bool {
        let rules = "add table inet faults\nadd counter inet faults questions\n\
                     add chain inet faults output { type filter hook output priority 0; }\n\
                     add rule inet faults output meta l4proto { tcp, udp } th dport 53 counter name questions\n";
        self.nft(nr, rules)
    }

    /// How many there were.
    pub fn questions(&self, nr: u8) -> u64 {
        self.counted(nr, "questions")
    }

    fn nft(&self, nr: u8, rules: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(nr), "nft", "-f", "-"]);
        let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return false;
        };
        let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(rules.as_bytes()).is_ok());
        child.wait().is_ok_and(|status| status.success()) && written
    }

    fn counted(&self, nr: u8, name: &str) -> u64 {
        let words = ["netns", "exec", &self.space(nr), "nft", "list", "counter", "inet", "faults", name];
        let shown = Command::new("ip").args(words).output().expect("ip runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let count = shown.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        count.expect("a counter of nft")
    }

    /// Programs that are started on a machine from now on have a resolver at which nobody is; false where that cannot be made so.
    pub fn without_resolver(&self, nr: u8) -> bool {
        let nobody = "nameserver 10.77.0.254\noptions timeout:1 attempts:1\n";
        let dir = self.configuration(nr);
        std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join("resolv.conf"), nobody)).is_ok()
    }

    /// Whether a machine finds an address for a name that only a resolver could know.
    pub fn resolves(&self, nr: u8, name: &str) -> bool {
        well(Command::new("ip").args(["netns", "exec", &self.space(nr), "getent", "ahosts", name]))
    }

    /// What `ip netns exec` puts over `/etc`.
    fn configuration(&self, nr: u8) -> PathBuf {
        Path::new("/etc/netns").join(self.space(nr))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        (0..self.machines).map(|nr| self.space(nr)).chain([self.hub()]).for_each(|space| {
            ip(&["netns", "delete", &space]);
        });
        // Most have none, and the directory of all is only removed when it is empty.
        (0..self.machines).for_each(|nr| drop(std::fs::remove_dir_all(self.configuration(nr))));
        drop(std::fs::remove_dir("/etc/netns"));
    }
}

fn ip(words: &[&str]) -> bool {
    well(Command::new("ip").args(words))
}

fn well(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
