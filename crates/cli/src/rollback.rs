//! `tiding rollback [APP]`.

use crate::failure::{Failure, Kind};
use crate::follow::{Ended, follow};
use crate::keeper::Keeper;
use crate::publishing::cannot_deploy;
use crate::report::Story;
use crate::rollout::{Goal, Judge};
use crate::screen::Screen;
use crate::settings::Settings;
use crate::status::choose_app;
use clap::Args;
use node::client::Client;
use node::publish;
use node::watching::Watching;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Orders an application back to a release that was published before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding rollback\n  tiding rollback app --to 2.0 -m 'the login is broken'\n\n\
    Nothing is sent: nodes keep the last releases laid out. All go back at once, whatever waves, gates or limits the deploy had. Going back is a newer order, so it can be rolled back too.")]
pub(crate) struct Rollback {
    /// The application; may be left out when there is only one
    app: Option<String>,
    /// The version or release to go back to [default: the one before the present one]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Why, for those who read `tiding status`
    #[arg(short, long, default_value = "rollback")]
    message: String,
    /// How long a node that has trouble, or is gone, is waited for
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::parse::duration)]
    patience: Duration,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Print the end as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Rollback {
    /// Orders it and waits for the end.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let what = "cannot roll back";
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        let app = choose_app(&client, self.app.as_deref(), what).await?;
        let ended = tokio::select! {
            ended = self.carry_out(&operator_home, client, &app) => ended?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Kind::Interrupted, "not waiting for the end")
                .because("interrupted: the order was given wholly or not at all")
                .next("`tiding status` tells")),
        };
        ended.conclude(self.json)
    }

    async fn carry_out(&self, operator_home: &Path, client: Client, app: &str) -> Result<Ended, Failure> {
        let what = format!("cannot roll back {}", node::escape::escape(app));
        let mut watching = Watching::start(client);
        let mut screen = Screen::new();
        let deployed = publish::rollback(operator_home, app, self.to.as_deref(), &self.message)
            .await
            .map_err(|error| cannot_deploy(&what, &error))?;
        screen.keep(format!("ordered    {} as epoch {}", deployed.version, deployed.epoch));
        let mut judge = Judge::new(Goal { app: app.to_owned(), ..Goal::default() }, self.patience);
        follow(deployed, &mut judge, &mut Story::new(0), &mut watching, (&mut screen, &mut Keeper::default())).await
    }
}
