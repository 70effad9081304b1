//! `tiding pause|resume|promote|abort [APP]`.

use crate::failure::Failure;
use crate::publishing::cannot_deploy;
use crate::settings::Settings;
use crate::speak;
use crate::status::choose_app;
use clap::Args;
use content::directive::Verb;
use node::client::Client;
use node::escape::escape;
use node::publish;
use std::path::PathBuf;

/// Says what is to be done with a rollout that is under way.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding pause -m 'the error rate rises'\n  tiding resume app\n  tiding promote\n  tiding abort\n\n\
    It is signed, and stands in the journal with who and why. A paused rollout is still halted when nodes fail: those \
    that run the release go back by themselves."
)]
pub(crate) struct Directed {
    /// The application; may be left out when there is only one
    app: Option<String>,
    /// Why, for those who read `tiding status`
    #[arg(short, long, default_value = "")]
    message: String,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

impl Directed {
    /// Signs it and brings it to the origin.
    pub(crate) async fn run(&self, settings: &Settings, verb: Verb) -> Result<(), Failure> {
        let (what, done) = match verb {
            Verb::Pause => ("cannot pause", "is paused: nobody switches until `tiding resume`"),
            Verb::Resume => ("cannot resume", "goes on"),
            Verb::Promote => ("cannot promote", "opens its next wave"),
            Verb::Abort => (
                "cannot abort",
                "is aborted: nobody else switches, and who runs it goes back, if anything was there before; see `tiding status`",
            ),
        };
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        let app = choose_app(&client, self.app.as_deref(), what).await?;
        let rollout = publish::direct(&operator_home, &app, verb, &self.message)
            .await
            .map_err(|error| cannot_deploy(&format!("{what} {}", escape(&app)), &error))?;
        speak::result(format!("{} {} {done}", escape(&app), escape(&rollout.version)));
        Ok(())
    }
}
