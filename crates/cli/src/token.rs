//! `tiding token`: the line with which machines join, made and taken back.

use crate::failure::{Failure, Kind};
use crate::parse;
use crate::settings::Settings;
use crate::speak;
use clap::{Args, Subcommand};
use content::{Label, TokenId};
use node::client::Client;
use node::join::{JoinLine, JoinTerms};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Makes a join line.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding token --uses 1 --valid 10m --label zone=a\n  tiding token revoke 3f2a…\n\n\
    The line holds a secret. Whoever has it can add an agent to the fleet until it is used up, expired or\n\
    revoked; what runs is still for the operators' keys to say.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many machines may join with it
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// For how long
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse::duration)]
    valid: Duration,
    /// What is said of those machines; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label)]
    label: Vec<(Label, Label)>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR", global = true)]
    operator_home: Option<PathBuf>,
    /// Print it as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take a join line back
    #[command(
        after_help = "Example:\n  tiding token revoke tiding1.…    (the whole line that is taken back, or its id)"
    )]
    Revoke {
        /// The join line that `tiding up` or `tiding token` printed, or its id
        #[arg(value_name = "LINE")]
        token: String,
    },
}

/// A join line, for programs.
#[derive(Debug, Serialize)]
struct Made {
    token: String,
    line: String,
    uses: u32,
    expires: u64,
}

impl Token {
    /// Makes or revokes.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let open = |what| Client::open(&operator_home).map_err(|error| Failure::asking(what, &error));
        match &self.action {
            Some(Action::Revoke { token }) => revoke(&open("cannot take the join line back")?, token).await,
            None => self.make(&open("cannot make a join line")?).await,
        }
    }

    async fn make(&self, client: &Client) -> Result<(), Failure> {
        let labels = self.label.iter().cloned().collect();
        let terms = JoinTerms { uses: self.uses, valid: self.valid, labels, ..JoinTerms::default() };
        let made = client.issue_join_line(&terms).await;
        let line = made.map_err(|error| Failure::asking("cannot make a join line", &error))?;
        self.say(&line);
        Ok(())
    }

    fn say(&self, line: &JoinLine) {
        let token = line.token_id().to_string();
        if self.json {
            return speak::json(&Made { token, line: line.to_string(), uses: line.uses, expires: line.expires.0 });
        }
        speak::result(line);
        speak::note(format!("it holds a secret; take it back with: tiding token revoke {token}"));
    }
}

async fn revoke(client: &Client, token: &str) -> Result<(), Failure> {
    let what = "cannot take the join line back";
    let of_line = |text: &str| text.parse::<JoinLine>().ok().map(|line| line.token_id());
    let token: TokenId = token.parse().ok().or_else(|| of_line(token)).ok_or_else(|| {
        Failure::new(Kind::Usage, what)
            .because("that is neither a join line nor the id of one")
            .next("give the whole line that `tiding up` or `tiding token` printed")
    })?;
    client.revoke_token(token).await.map_err(|error| Failure::asking(what, &error))?;
    speak::result(format!("revoked {token}: nobody joins with it any more; who has joined stays"));
    Ok(())
}
