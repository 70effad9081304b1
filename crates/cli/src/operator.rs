//! `tiding operator add|list|remove`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::table::Table;
use clap::{Args, Subcommand};
use content::{Act, AppName, Powers, Selector};
use node::escape::escape;
use node::people::{self, AddOptions, PeopleError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Says who may sign what runs: makes operators, removes them, lists them. Making and removing takes the fleet's root key.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding operator add ci --may deploy --app web --out ./ci-keys\n  \
    tiding operator list\n  tiding operator remove ci")]
pub(crate) struct Operator {
    #[command(subcommand)]
    verb: Verb,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR", global = true)]
    operator_home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an operator: keys and a certificate in a directory of its own
    Add(Add),
    /// List the operators, and what each may do
    #[command(after_help = "Examples:\n  tiding operator list\n  tiding operator list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an operator out of the fleet: what they sign counts nowhere any more
    #[command(after_help = "Example:\n  tiding operator remove ci\n\n\
        What they ordered and what is kept is co-signed with your key first, so that machines that join later can follow it; nothing \
        that runs changes. If you do not trust what they ordered last, say `tiding rollback` or deploy before.")]
    Remove {
        /// Who, as `tiding operator list` shows them
        name: String,
        /// Where the fleet's root key is [default: root.key in the operator's home]
        #[arg(long, value_name = "PATH")]
        root_key: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding operator add bob --out ./bob-keys\n  \
    tiding operator add ci --may deploy --app web --out ./ci-keys         a key for CI\n  \
    tiding operator add night --may steer --on role=web --out ./night\n\n\
    Bring the directory to where it is used, and say --operator-home there. Everything is allowed that is not kept from an operator; \
    if the command is interrupted, say it again.")]
struct Add {
    /// The name, as `status` and `history` show it
    name: String,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What it may do: deploy, steer (pause, resume, promote, abort), fleet (join lines, forget, limits, operators)
    #[arg(long, value_name = "ACTS", value_delimiter = ',', value_parser = act)]
    may: Vec<Act>,
    /// For which application; may be given several times
    #[arg(long, value_name = "APP", value_parser = app)]
    app: Vec<AppName>,
    /// On which nodes: a deploy must select within these
    #[arg(long, value_name = "SELECTOR", default_value = "")]
    on: Selector,
    /// Where the fleet's root key is: its file, or a directory with it [default: the operator's home]
    #[arg(long, value_name = "PATH")]
    root_key: Option<PathBuf>,
}

fn act(text: &str) -> Result<Act, String> {
    let known = Act::ALL.into_iter().find(|act| act.word() == text.trim());
    known.ok_or_else(|| format!("{text} is nothing that one may; say deploy, steer or fleet"))
}

fn app(text: &str) -> Result<AppName, String> {
    AppName::new(text).map_err(|bad| bad.to_string())
}

/// An operator, for programs.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    key: String,
    may: String,
    since: u64,
}

impl Operator {
    /// Does what was asked.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        match &self.verb {
            Verb::Add(add) => add.run(&operator_home).await,
            Verb::List { json } => list(&operator_home, *json).await,
            Verb::Remove { name, root_key } => remove(&operator_home, name, root_key.as_deref()).await,
        }
    }
}

impl Add {
    async fn run(&self, operator_home: &Path) -> Result<(), Failure> {
        let may = if self.may.is_empty() { Act::ALL.to_vec() } else { self.may.clone() };
        let powers = Powers::new(may, self.app.clone(), self.on.clone());
        let options =
            AddOptions { name: self.name.clone(), out: self.out.clone(), powers, root_key: self.root_key.clone() };
        let what = format!("cannot add operator {}", escape(&self.name));
        let added = people::add(operator_home, &options).await.map_err(|error| failed(what, &error))?;
        let (name, out) = (escape(&self.name), self.out.display());
        speak::result(format!("{name} may now do: {}; trust root {}", options.powers, added.root));
        speak::note(format!("the keys are in {out}: bring that directory to where they are used, and say there"));
        speak::note(format!("  tiding deploy ... --operator-home {out}"));
        Ok(())
    }
}

async fn list(operator_home: &Path, as_json: bool) -> Result<(), Failure> {
    let known = people::list(operator_home).await.map_err(|error| failed("cannot list the operators", &error))?;
    if as_json {
        let listed = known.into_iter().map(|of| Listed { name: of.name, key: of.key, may: of.powers, since: of.since });
        speak::json(&listed.collect::<Vec<_>>());
        return Ok(());
    }
    let mut table = Table::new(&["operator", "may", "key", "since root"]);
    for of in known {
        let key: String = of.key.chars().take(16).collect();
        table.row(vec![escape(&of.name), escape(&of.powers), key, of.since.to_string()]);
    }
    table.lines().into_iter().for_each(speak::result);
    Ok(())
}

async fn remove(operator_home: &Path, name: &str, root_key: Option<&Path>) -> Result<(), Failure> {
    let what = format!("cannot remove operator {}", escape(name));
    let removed = people::remove(operator_home, name, root_key).await.map_err(|error| failed(what, &error))?;
    for document in &removed.countersigned {
        speak::note(format!("co-signed  {}", escape(document)));
    }
    let name = escape(name);
    speak::result(format!(
        "{name} is no operator any more: what {name} signs counts nowhere; trust root {}",
        removed.root
    ));
    Ok(())
}

/// What came of changing a trust root that did not go well.
pub(crate) fn failed(what: impl std::fmt::Display, error: &PeopleError) -> Failure {
    match error {
        PeopleError::Client(error) => Failure::asking(what, error),
        PeopleError::Invalid(_) => Failure::new(Kind::Usage, what).because_and_next(error),
        PeopleError::Refused(_) | PeopleError::NoRootKey(_) => {
            Failure::new(Kind::Refused, what).because_and_next(error)
        }
        PeopleError::Disk { .. } => Failure::new(Kind::Failed, what).because(error),
    }
}
