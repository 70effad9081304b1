//! The origin of the storm: founds a fleet, says where and how to join it, and how many came to its port whenever it is asked.

use crate::Failure;
use std::path::Path;
use std::time::Duration;
use tiding_node::daemon::{self, Options};
use tiding_node::founding::{self, FoundOptions};
use tiding_node::join::JoinTerms;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Runs until its standard input ends.
pub(crate) async fn run(dir: &Path, agents: &str) -> Result<(), Failure> {
    let found = FoundOptions {
        home: dir.join("origin"),
        operator_home: dir.join("operator"),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: Vec::new(),
        name: "origin".to_owned(),
        datacenter: "here".to_owned(),
        operator: "alice".to_owned(),
    };
    founding::found(&found)?;
    let targets = dir.join("origin-root");
    std::fs::create_dir_all(&targets)?;
    let origin = daemon::start(Options {
        home: found.home,
        targets,
        listen: found.listen,
        limit: None,
        policy: Default::default(),
    })
    .await?;
    founding::set_origins(&found.operator_home, &[origin.address()])?;
    let terms = JoinTerms { uses: agents.parse()?, valid: Duration::from_secs(3600), ..JoinTerms::default() };
    let line = origin.issue_join_line(terms).await?;
    println!("{line} {}", origin.node());
    let mut asked = BufReader::new(tokio::io::stdin()).lines();
    while asked.next_line().await?.is_some() {
        let came = origin.came();
        println!("{} {}", came.connections(), came.turned_away());
    }
    Ok(())
}
