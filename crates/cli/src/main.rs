//! The single binary `tiding`: parses, reads configuration, calls node, prints.
//!
//! One command is one file, with its flags, its help and what it says; [`arguments`] only lists them. Nothing is decided about
//! fleets here. Only this crate prints, and what came over the network is escaped before it is printed.

mod arguments;
mod backup;
mod ca;
mod care;
mod deploy;
mod diff;
mod direct;
mod doctor;
mod failure;
mod follow;
mod forget;
mod gating;
mod git;
mod hands;
mod history;
mod homes;
mod join;
mod keeper;
mod keeping;
mod key;
mod launch;
mod limit;
mod logging;
mod manual;
mod mapping;
mod operator;
mod page;
mod parse;
mod patching;
mod playground;
mod publishing;
mod report;
mod roads;
mod rollback;
mod rollout;
mod running;
mod screen;
mod settings;
mod settle;
mod simulated;
mod speak;
mod status;
mod stop;
mod supervised;
mod table;
mod token;
mod uninstall;
mod up;
mod upgrade;
mod verify;
mod watch;
mod words;

use arguments::Command;
use clap::CommandFactory;
use content::directive::Verb;
use failure::{Failure, Kind};
use settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match arguments::parse() {
        Ok(command) => command,
        Err(shown) => return shown,
    };
    match run(command) {
        Ok(code) => code,
        Err(failure) => {
            speak::failure(&failure);
            failure.kind.code().into()
        }
    }
}

fn run(arguments: arguments::Arguments) -> Result<ExitCode, Failure> {
    logging::start(arguments.command.is_a_node());
    // What supervises reads no configuration: a word there that only a newer version knows must not keep it from running that one.
    match &arguments.command {
        Command::Launch(launch) => return launch.run(),
        Command::Settle(settle) => return settle.run().map(|()| ExitCode::SUCCESS),
        // Nothing of a fleet, or of its configuration, is needed for a patch between two files or directories.
        Command::Patch(patch) => return patch.run().map(|()| ExitCode::SUCCESS),
        Command::Diff(diff) if let Some(making) = diff.patch() => return making.run().map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let settings = Settings::read(arguments.config.as_deref())?;
    // While there is one thread: those to come inherit what was given away.
    if let Some(home) = arguments.command.network_half(&settings) {
        hands::confine(&home?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, "cannot start threads").because(error))?;
    let outcome = runtime.block_on(route(arguments.command, &settings));
    // A blocking read of standard input must not hold up the end of the process.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn route(command: Command, settings: &Settings) -> Result<(), Failure> {
    match command {
        Command::Up(up) => up.run(settings).await,
        Command::Join(join) => join.run(settings).await,
        Command::Run(run) => run.run(settings).await,
        Command::Hands(hands) => hands.run(settings).await,
        Command::Deploy(deploy) => deploy.run(settings).await,
        Command::Diff(diff) => diff.run(settings).await,
        Command::Status(status) => status.run(settings).await,
        Command::Page(page) => page.run(settings).await,
        Command::Rollback(rollback) => rollback.run(settings).await,
        Command::Verify(verify) => verify.run(settings).await,
        Command::Token(token) => token.run(settings).await,
        Command::Pause(directed) => directed.run(settings, Verb::Pause).await,
        Command::Resume(directed) => directed.run(settings, Verb::Resume).await,
        Command::Promote(directed) => directed.run(settings, Verb::Promote).await,
        Command::Abort(directed) => directed.run(settings, Verb::Abort).await,
        Command::Forget(forget) => forget.run(settings).await,
        Command::Limit(limit) => limit.run(settings).await,
        Command::Operator(operator) => operator.run(settings).await,
        Command::Key(key) => key.run(settings).await,
        Command::Ca(ca) => ca.run(settings).await,
        Command::History(history) => history.run(settings).await,
        Command::Audit(audit) => audit.run(settings).await,
        Command::Backup(backup) => backup.run(settings).await,
        Command::Restore(restore) => restore.run(settings),
        Command::Completions(completions) => completions.run(arguments::Arguments::command()),
        Command::Man(man) => man.run(arguments::Arguments::command()),
        Command::Doctor(doctor) => doctor.run(settings).await,
        Command::Stop(stop) => stop.run(settings),
        Command::Uninstall(uninstall) => uninstall.run(settings),
        Command::Upgrade(upgrade) => upgrade.run(settings).await,
        // They have had their turn before anything else was begun.
        Command::Settle(_) | Command::Launch(_) | Command::Patch(_) => Ok(()),
        Command::Playground(playground) => playground.run().await,
    }
}
