//! `tiding deploy DIR --to PATH`.

use crate::care::Care;
use crate::failure::{Failure, Kind};
use crate::gating::{self, Gating};
use crate::git::{self, Revision};
use crate::keeping::Keeping;
use crate::parse;
use crate::publishing::{Publishing, cannot_deploy, check_target, lines_left_out};
use crate::roads::Effort;
use crate::settings::Settings;
use crate::{diff, speak, words};
use clap::{Args, ValueEnum};
use node::escape::{escape, escape_lines};
use node::own::ITSELF;
use node::publish::{self, DeployOptions, Patterns, Rehearsal};
use node::selection::WhenAway;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Puts a directory or a file at a path on every node.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding deploy ./build --to /srv/app\n  \
    tiding deploy ./build --to /srv/app --version 2.1 -m 'fixes the login' --waves 1,10%,100% \\\n    \
    --after 'systemctl restart app' --health http://127.0.0.1:8080/health --health-window 30s\n  \
    tiding deploy ./build --to /srv/app --waves 1,10%,100% --gate-command ./error-rate-is-low --wave-deadline 30m --at-once rack=1\n  \
    tiding deploy git:v2.1 --to /srv/app --dry-run\n  \
    tiding deploy git:v2.1 --to /srv/app --base git:v2.0 --effort best\n  \
    tiding deploy ./build --to /srv/app --keep-path uploads,mode=770,owner=33:33 --keep-file config/secrets.env\n  \
    tiding deploy ./build --to /srv/app --adopt --keep-path uploads --owner app:app --keep 5\n  \
    tiding deploy ./motd --to /etc/motd.d/news --on 'role=web,zone!=b'\n\n\
    It ends when every reachable agent is confirmed, or says which is not and why (exit code 5). Ctrl-C is safe at any \
    moment: an order is given wholly or not at all, and once given, the rollout goes on by itself.\n\n\
    What the patterns in files called .tidingignore name (the syntax is that of .gitignore) is left out, and so are these \
    files.\n\n\
    Owners are kept when root deploys; what anyone else deploys belongs to root on the servers, as with tar, or to whom --owner or --map-owner says.")]
pub(crate) struct Deploy {
    /// The directory or file, or git:REV for a revision of the repository here, as it was committed
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// Where it goes on every node: an absolute path, which becomes a symlink that is swung in one step
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// What the application is called [default: the last part of PATH]
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// What this version is called [default: made from the clock and the content]
    #[arg(long)]
    version: Option<String>,
    /// Why, for those who read `tiding status`
    #[arg(short, long, default_value = "")]
    message: String,
    /// Only these agents, by their labels: role=web,zone!=b or zone=a|b or gpu or !old, and groups of the configuration as @NAME;
    /// given several times all of it must hold
    #[arg(long, value_name = "WHICH")]
    on: Vec<String>,
    /// What to do about those of them that are not connected
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Unreachable::Skip)]
    unreachable: Unreachable,
    /// Yes, also to many more agents than this application went to before
    #[arg(long)]
    yes: bool,
    /// Yes, also a tree of less than a tenth of the size of the one before, or of more than ten times it and a gigabyte
    #[arg(long)]
    yes_size: bool,
    /// How long a node that has trouble, or is gone, is waited for
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::duration)]
    patience: Duration,
    /// How fast pieces may leave this machine: 50Mbit, 6MB [default: as the configuration says, or none]
    #[arg(long, value_name = "RATE", value_parser = parse::limit)]
    limit: Option<parse::Limit>,
    /// Whether patches are made of what nodes run, and with how much work
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Effort::Auto)]
    effort: Effort,
    /// What DIR was when it was deployed before, a directory, a file or git:REV: what leaves this machine is a patch from it then, of which an
    /// origin that has that release makes the new one
    #[arg(long, value_name = "OLD")]
    base: Option<PathBuf>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Publish everything, whatever the files .tidingignore in DIR say, and these files as well
    #[arg(long)]
    no_ignore: bool,
    /// Say what would be done, with all that would be refused, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the end as one line of JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    gating: Gating,
    #[command(flatten)]
    keeping: Keeping,
}

/// What is done about agents that are not connected.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Unreachable {
    /// They hold nothing up, and get it when they come back
    Skip,
    /// Their wave is not done before they are back and well, or `tiding promote`; who vanishes while it switches has failed
    Wait,
    /// Nothing is deployed
    Fail,
}

impl From<Unreachable> for WhenAway {
    fn from(policy: Unreachable) -> Self {
        match policy {
            Unreachable::Skip => Self::Skip,
            Unreachable::Wait => Self::Wait,
            Unreachable::Fail => Self::Fail,
        }
    }
}

/// The tree of a revision, if that is what a source is.
fn revision_of(source: &Path) -> Result<Option<Revision>, Failure> {
    git::revision_of(source).map(|revision| Revision::write(Path::new("."), &revision)).transpose()
}

impl Deploy {
    /// Deploys and waits for the end.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let (mut options, mut source) = (self.options(settings)?, self.source.clone());
        let revision = revision_of(&self.source)?;
        if let Some(revision) = &revision {
            revision.notes.iter().for_each(|note| speak::note(format!("not carried: {note}")));
            source = revision.tree();
            options.version = options.version.or_else(|| Some(revision.version.clone()));
            if options.message.is_empty() {
                options.message.clone_from(&revision.subject);
            }
        }
        let before = self.base.as_deref().map(revision_of).transpose()?.flatten();
        options.base = before.as_ref().map(Revision::tree).or_else(|| self.base.clone());
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        if self.dry_run {
            return self.rehearse(&operator_home, &source, &options).await;
        }
        let gate = self.gating.command();
        let publishing = Publishing { operator_home, source, options, patience: self.patience, gate };
        publishing.carry_out().await?.conclude(self.json)
    }

    async fn rehearse(&self, operator_home: &Path, source: &Path, options: &DeployOptions) -> Result<(), Failure> {
        let what = format!("cannot deploy {}", self.source.display());
        let rehearsed = publish::rehearse(operator_home, source, options, |_| {}).await;
        let Rehearsal { selection, entries, bytes, notes, left_out, busy, waves, fallback, changes } =
            rehearsed.map_err(|error| cannot_deploy(&what, &error))?;
        if self.json {
            speak::json(&serde_json::json!({
                "dry_run": true,
                "agents": selection.chosen,
                "away": selection.away,
                "entries": entries,
                "bytes": bytes,
                "not_carried": notes,
                "left_out": left_out.iter().map(|one| (&one.by, one.entries)).collect::<BTreeMap<_, _>>(),
                "busy": busy,
                "waves": waves,
                "fallback": fallback,
                "would_send": changes.as_ref().ok().map(|changes| changes.would_send),
                "changes": changes.as_ref().ok().map(|changes| changes.changes.len()),
            }));
            return Ok(());
        }
        let waves: Vec<String> = waves.into_iter().map(|agents| agents.to_string()).collect();
        let mut lines =
            vec![format!("to         {selection}"), format!("read       {entries} entries, {}", words::size(bytes))];
        lines.extend(notes.iter().map(|note| format!("           note: {}", escape_lines(note))));
        lines.extend(lines_left_out(&left_out));
        lines.push(match &changes {
            Ok(changes) => format!("changes    {}", diff::summary(changes)),
            Err(why) => format!("changes    {}", escape(why)),
        });
        lines.push(format!("waves      {} of {}", waves.join(", "), words::count(selection.chosen, "agent")));
        lines.extend(gating::words(&options.restraint));
        lines.push(match fallback {
            Some(version) => format!("if it fails, they go back to {}", escape(&version)),
            None => "if it fails, there is nothing to go back to".to_owned(),
        });
        lines.extend(busy);
        lines.push("dry run: nothing was published".to_owned());
        lines.iter().for_each(speak::result);
        Ok(())
    }

    fn options(&self, settings: &Settings) -> Result<DeployOptions, Failure> {
        check_target(&self.to)?;
        let app = self.app.clone().or_else(|| parse::name_from(&self.to)).ok_or_else(|| {
            Failure::new(Kind::Usage, "the application has no name")
                .because("PATH ends in nothing a name can be made of")
                .next("give one with --app NAME")
        })?;
        if app == ITSELF {
            return Err(Failure::new(Kind::Usage, format!("an application cannot be called {ITSELF}"))
                .because("that is this program itself")
                .next("bring a new version of it with `tiding upgrade FILE`, or give another name with --app NAME"));
        }
        let options = self.care.say(DeployOptions {
            version: self.version.clone(),
            message: self.message.clone(),
            selector: settings.select(&self.on)?,
            when_away: self.unreachable.into(),
            is_sure: self.yes,
            is_resized: self.yes_size,
            limit: settings.limit(self.limit)?,
            wish: self.effort.into(),
            patterns: if self.no_ignore { Patterns::Overlooked } else { Patterns::Honoured },
            ..DeployOptions::new(&app, &self.to)
        });
        let options = self.gating.say(self.keeping.say(options))?;
        let makes_no_sense = |why| Failure::new(Kind::Usage, "this cannot be deployed").because(why);
        options.check().map_err(makes_no_sense)?;
        Ok(options)
    }
}
