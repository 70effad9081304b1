//! `tiding ca rotate`.

use crate::failure::Failure;
use crate::operator;
use crate::settings::Settings;
use crate::speak;
use crate::words;
use clap::{Args, Subcommand};
use node::escape::escape;
use node::rotation::{self, Changing};
use std::path::PathBuf;

/// Changes the fleet's CA, whose certificates say who may talk, while everything runs. It takes the fleet's root key.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding ca rotate\n  tiding ca rotate --finish")]
pub(crate) struct Ca {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Change to a new CA: once to begin, and with --finish to give up the old one
    Rotate(Rotate),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding ca rotate                     a new CA beside the old one; everyone renews within a minute\n  \
    tiding ca rotate --finish            give up the old one, once nobody needs it\n  \
    tiding ca rotate --lost              the old key is gone: begin without it\n  \
    tiding ca rotate --finish --leave 2  give up two machines as well: they must join anew\n\n\
    Between the two, members of both CAs talk, so nothing stops. An operator's keys follow with any command that reaches the origin, and \
    `tiding doctor` says who is left. Join lines made before --finish end with it. Take a backup after each step. If it is interrupted, \
    say it again."
)]
struct Rotate {
    /// Give up the old CA: whoever has only a certificate of that one is refused from then on
    #[arg(long, conflicts_with = "lost")]
    finish: bool,
    /// The key of the old CA is lost: begin without it
    #[arg(long)]
    lost: bool,
    /// With --finish: leave exactly so many agents behind, which must join anew
    #[arg(long, value_name = "N", default_value_t = 0, requires = "finish")]
    leave: usize,
    /// Where the fleet's root key is: its file, or a directory with it [default: the operator's home]
    #[arg(long, value_name = "PATH")]
    root_key: Option<PathBuf>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

impl Ca {
    /// Does what was asked.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let Verb::Rotate(asked) = &self.verb;
        let operator_home = settings.operator_home(asked.operator_home.as_ref())?;
        let key = asked.root_key.as_deref();
        let what = "cannot change the CA";
        match asked.finish {
            true => {
                let done = rotation::finish(&operator_home, key, asked.leave).await;
                finished(&done.map_err(|error| operator::failed(what, &error))?);
            }
            false => {
                let begun = rotation::begin(&operator_home, key, asked.lost).await;
                begun_to_change(&begun.map_err(|error| operator::failed(what, &error))?);
            }
        }
        Ok(())
    }
}

fn begun_to_change(changing: &Changing) {
    let Changing { root, agents, left } = changing;
    let have = agents.saturating_sub(left.len());
    speak::result(format!(
        "two CAs are believed while the fleet changes over: {have} of {} showed a certificate of the new one; trust root {root}",
        words::count(*agents, "agent")
    ));
    speak::note(
        "everyone renews by themselves, within a minute where the origin is reached; `tiding doctor` says who is left",
    );
    speak::note("take a backup now: the new key is in this origin's home alone");
    speak::note("then: tiding ca rotate --finish");
}

fn finished(changing: &Changing) {
    speak::result(format!(
        "the old CA is given up: its certificates let nobody in any more; trust root {}",
        changing.root
    ));
    for name in &changing.left {
        speak::warning(format!("{} must join anew: move `identity` in its home away first", escape(name)));
    }
    speak::note("join lines of before are of no use: make new ones with `tiding token`");
    speak::note("take a backup now; one of before holds the old CA");
}

/// Why a change cannot go on that is said by a node's own machine.
pub(crate) fn lacking() -> [&'static str; 2] {
    [
        "the key of the fleet's CA is not on the origin: nobody joins or renews",
        "put it back from a backup, or make a new CA with `tiding ca rotate --lost`",
    ]
}

/// What `status` says about a change that is under way.
pub(crate) fn notice(vouching: &node::api::Vouching) -> Option<String> {
    if vouching.lacks_key {
        let [what, next] = lacking();
        return Some(format!("{what}; {next}"));
    }
    match vouching.left.len() {
        _ if vouching.named < 2 => None,
        0 => Some(
            "the fleet changes its CA, and every agent has a certificate of the new one; `tiding ca rotate --finish`"
                .to_owned(),
        ),
        left => Some(format!(
            "the fleet changes its CA, and {} not shown a certificate of the new one",
            if left == 1 { "1 agent has".to_owned() } else { format!("{left} agents have") }
        )),
    }
}
