//! All the processes of a playground: started together, ended together.

use super::child::Child;
use super::place::Place;
use crate::failure::{Failure, Kind};
use node::api::Role;
use node::client::Client;
use node::join::JoinTerms;
use node::watching::Watching;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The processes of a playground. Dropping it kills those that still run.
pub(crate) struct Fleet {
    operator_home: PathBuf,
    homes: Box<dyn Fn(&str) -> PathBuf + Send>,
    children: Vec<Child>,
    detached: bool,
}

/// How long stopping in order may take.
const STOP: Duration = Duration::from_secs(10);
/// How long agents may take to be known to the origin.
const KNOWN: Duration = Duration::from_secs(60);

impl Fleet {
    /// A fleet in a place, of which nothing runs yet; `detached` processes may outlive this one.
    pub(crate) fn new(place: &Place, detached: bool) -> Self {
        let dir = place.dir().to_owned();
        let homes = Box::new(move |node: &str| dir.join(node));
        Self { operator_home: place.operator_home(), homes, children: Vec::new(), detached }
    }

    /// Starts the origin, then the agents, and waits until the origin knows them all.
    pub(crate) async fn start(&mut self, agents: u16) -> Result<(), Failure> {
        let operator_home = self.operator_home.to_string_lossy().into_owned();
        let up = ["up", "--name", "origin", "--operator-home", &operator_home];
        self.launch("origin", &up, None)?;
        self.children[0].ready().await?;
        let what = "cannot make a join line for the agents";
        let client = Client::open(&self.operator_home).map_err(|error| Failure::asking(what, &error))?;
        let terms = JoinTerms { uses: u32::from(agents), ..JoinTerms::default() };
        let line = client.issue_join_line(&terms).await.map_err(|error| Failure::asking(what, &error))?.to_string();
        for number in 1..=agents {
            let name = format!("node-{number}");
            self.launch(&name, &["join", "-", "--name", &name], Some(&line))?;
        }
        for child in &mut self.children[1..] {
            child.ready().await?;
        }
        self.wait_until_known(client, usize::from(agents)).await
    }

    fn launch(&mut self, name: &str, arguments: &[&str], first: Option<&str>) -> Result<(), Failure> {
        let child = Child::start(name, &(self.homes)(name), arguments, first, self.detached)?;
        self.children.push(child);
        Ok(())
    }

    async fn wait_until_known(&mut self, client: Client, agents: usize) -> Result<(), Failure> {
        let mut watching = Watching::start(client);
        let began = Instant::now();
        loop {
            let seen = watching.seen();
            let nodes = seen.status.iter().flat_map(|status| &status.nodes);
            let known = nodes.filter(|node| node.up && node.role == Role::Agent).count();
            if known >= agents {
                return Ok(());
            }
            if let Some(died) = self.ended() {
                return Err(died);
            }
            if began.elapsed() > KNOWN {
                let why = seen.lost.map_or_else(|| format!("it knows {known} of {agents}"), |(_, why)| why);
                return Err(Failure::new(Kind::Failed, "the origin does not know all agents")
                    .because(why)
                    .next("try with fewer --agents; --dir D keeps what each node said in D/NODE/log"));
            }
            watching.changed().await;
        }
    }

    fn ended(&mut self) -> Option<Failure> {
        self.children.iter_mut().find_map(Child::has_ended)
    }

    /// Resolves when a process ends that should not.
    pub(crate) async fn died(&mut self) -> Failure {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            look.tick().await;
            if let Some(died) = self.ended() {
                return died;
            }
        }
    }

    /// Stops all in order, and kills what does not stop.
    pub(crate) fn stop(&mut self) {
        self.children.iter_mut().for_each(Child::let_go);
        let until = Instant::now() + STOP;
        while Instant::now() < until && !self.children.iter_mut().all(Child::is_gone) {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    /// Leaves all running.
    pub(crate) fn leave(&mut self) {
        self.children.clear();
    }

    fn kill(&mut self) {
        self.children.iter_mut().for_each(Child::kill);
        self.children.clear();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill();
    }
}
