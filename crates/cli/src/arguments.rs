//! The list of commands, and what is said about all of them. The flags of a command stand in its own file.

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{
    backup, ca, deploy, diff, direct, doctor, forget, hands, history, join, key, launch, limit, manual, operator, page,
    patching, playground, rollback, running, settle, status, stop, token, uninstall, up, upgrade, verify,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Brings a directory tree to every server you run, peer to peer, verified and signed, live at once and back again.
#[derive(Debug, Parser)]
#[command(name = "tiding", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration file [default: /etc/tiding/tiding.toml, if it is there; environment: TIDING_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  tiding playground ./some/dir              see it work: an origin and 8 agents on this machine
  tiding up                                 on one machine: founds a fleet and prints a join line
  tiding join tiding1.…                     on each other machine
  tiding deploy ./build --to /srv/app       live at /srv/app on all of them
  tiding page --open                        watch it in a browser
  tiding rollback app                       and back

Exit codes:
  0  done                           4  no origin can be reached
  1  failed                         5  some nodes failed, the others went on
  2  the arguments make no sense    130  interrupted
  3  refused, or in conflict with another order

Configuration (TOML), all optional, each also a flag and an environment variable (TIDING_HOME and so on):
  home, operator-home, root, listen, advertise, name, datacenter, limit, metrics, traces, hands; the file alone: groups, hooks-user, webhooks";

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Found a fleet on this machine (once), run its origin, and print the line with which others join
    Up(up::Up),
    /// Join a fleet with the line that `tiding up` printed (once), and run
    Join(join::Join),
    /// Run what this machine was made by `up` or `join`
    Run(running::Run),
    /// Run the root half of a node whose other half, which talks to the network, is not root
    Hands(hands::HandsArguments),
    /// Put a directory or a file at a path on every node
    Deploy(Box<deploy::Deploy>),
    /// Show what a deploy of a directory or a file would change; or, with -o, make a patch between two files or directories
    Diff(diff::Diff),
    /// Make the new file or directory of the old one and a patch
    Patch(patching::Patch),
    /// Show where every node stands
    Status(status::Status),
    /// Show all of it in a browser on this machine, with buttons to pause, promote, abort and roll back
    Page(page::PageArguments),
    /// Order an application back to a release that was published before
    Rollback(rollback::Rollback),
    /// Let nobody switch any more in the rollout that is under way
    Pause(direct::Directed),
    /// Let a paused rollout go on
    Resume(direct::Directed),
    /// Open the next wave now
    Promote(direct::Directed),
    /// End the rollout that is under way: everyone goes back
    Abort(direct::Directed),
    /// Have every node read again what is live, and compare it with what was published
    Verify(verify::Verify),
    /// Make a join line, or take one back
    Token(token::Token),
    /// Take a machine that is gone for good out of the fleet
    Forget(forget::Forget),
    /// Bound how fast pieces move: on a node, on some, or of all together; while it runs
    Limit(limit::Limit),
    /// Look for what is wrong, or soon will be
    Doctor(doctor::Doctor),
    /// Say who may sign what runs: make operators, remove them, list them
    Operator(operator::Operator),
    /// Bring the operator's keys elsewhere: away from the origin's machine
    Key(key::Key),
    /// Change the CA, whose certificates say who may talk: because its key was stolen or lost, or is old
    Ca(ca::Ca),
    /// Show who did what, when and why
    History(history::History),
    /// Find out whether the journals are what was written into them
    Audit(history::Audit),
    /// Write down all that it takes to be this origin again
    Backup(backup::Backup),
    /// Be the origin again of which there is a backup
    Restore(backup::Restore),
    /// Stop the node that runs from a home on this machine
    Stop(stop::Stop),
    /// Take the node off this machine; what is live stays
    Uninstall(uninstall::Uninstall),
    /// Bring a new version of this program to the agents, in waves; an agent that does not do well with it goes back by itself
    Upgrade(upgrade::Upgrade),
    /// Run the version of this program that the fleet runs, and the one before it when that one fails: what the service starts
    Launch(launch::Launch),
    /// What a release of this program runs on a node
    #[command(hide = true)]
    Settle(settle::Settle),
    /// Print what a shell needs to complete commands and flags
    Completions(manual::Completions),
    /// Write the manual, a page for each command
    Man(manual::Man),
    /// See it work: an origin and agents as real processes on this machine
    Playground(playground::Playground),
}

impl Command {
    /// Whether it runs a node until it is stopped.
    pub(crate) fn is_a_node(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Join(_) | Self::Run(_) | Self::Hands(_))
    }

    /// The home of the network half that this is to run, if it is one.
    pub(crate) fn network_half(&self, settings: &Settings) -> Option<Result<PathBuf, Failure>> {
        let (place, hands) = match self {
            Self::Join(join) => (&join.place, &join.hands),
            Self::Run(run) => (&run.place, &run.hands),
            _ => return None,
        };
        settings.hands(hands.as_ref()).map(|_| settings.home(place.home.as_ref()))
    }
}

/// Reads the arguments, or shows help or what is wrong with them.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|shown| {
        // Help that nobody can read any more is no failure.
        let _unread = shown.print();
        ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_of_all_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    /// Every flag of every command.
    fn flags(command: &clap::Command, into: &mut Vec<String>) {
        into.extend(command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned));
        command.get_subcommands().for_each(|under| flags(under, into));
    }

    #[test]
    fn h10_no_flag_and_no_variable_turns_tls_or_verification_off() {
        let mut names = Vec::new();
        flags(&Arguments::command(), &mut names);
        names.extend(crate::settings::Settings::VARIABLES.map(|name| name.to_lowercase().replace('_', "-")));
        assert!(names.len() > 60, "{names:?}");
        let off =
            ["insecure", "tls", "plain", "skip", "no-verify", "unverified", "unsigned", "trust", "allow", "debug"];
        for name in &names {
            assert!(off.iter().all(|word| !name.contains(word)), "--{name} looks like a switch that turns safety off");
        }
    }

    #[test]
    fn h11_there_are_no_names_and_passwords_so_none_by_default() {
        let mut names = Vec::new();
        flags(&Arguments::command(), &mut names);
        for word in ["password", "passwd", "user", "login", "credential"] {
            // A user of the machine, as whom a release's commands run, is no account of ours.
            let like = names
                .iter()
                .filter(|name| name.contains(word))
                .filter(|name| !name.starts_with("run-as") && *name != "hook-user");
            assert_eq!(like.collect::<Vec<_>>(), Vec::<&String>::new());
        }
    }

    #[test]
    fn every_command_has_an_example() {
        fn look(command: &clap::Command) {
            assert!(command.get_after_help().is_some(), "`{} --help` shows no example", command.get_name());
            command.get_subcommands().for_each(look);
        }
        look(&Arguments::command());
    }

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().join("man1");
        let pages = manual::write_pages(&at, Arguments::command()).expect("written");
        let page = |name: &str| std::fs::read_to_string(at.join(name)).expect("there is a page").replace('\\', "");
        assert!(pages > 15, "{pages} pages");
        assert!(page("tiding.1").contains("deploy") && page("tiding-deploy.1").contains("--to"));
    }

    #[test]
    fn each_shell_completes_the_commands() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = manual::script(shell, Arguments::command());
            assert!(["rollback", "history", "operator-home"].iter().all(|word| script.contains(word)), "{shell}");
        }
    }
}
