//! `tiding diff DIR`: what a deploy of it would change. With `-o`, `tiding diff OLD NEW -o PATCH`, a patch is made instead: see
//! [`crate::patching`].

use crate::failure::{Failure, Kind};
use crate::git::{self, Revision};
use crate::mapping::Mapped;
use crate::patching::{Making, Trouble};
use crate::publishing::cannot_deploy;
use crate::settings::Settings;
use crate::status::choose_app;
use crate::table::Table;
use crate::{speak, words};
use clap::Args;
use content::compare::Aspect;
use node::client::Client;
use node::difference::{Change, Changes, How};
use node::publish::{self, DiffOptions, Patterns};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Shows what a deploy of a directory or file would change of what is ordered now; with -o, makes a patch between two files or two directories.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding diff ./build\n  tiding diff git:v2.1 --app web --release 2.0\n  \
    tiding diff ./build --exit-code --json\n  tiding diff ./build --map-owner 1000=33 --chmod o-rwx\n  tiding diff app-1.0 app-2.0 -o app.patch\n\n\
    With -o no fleet is asked: a patch is written that makes NEW of OLD, for `tiding patch OLD PATCH -o NEW`. Otherwise entries are named that were added, removed or changed, and in what: content, mode, link, owner, kind. \
    Times are not compared: they alone make no other release. The bytes that would be sent are those that no machine with that release has.\n\n\
    Exit code 0, also when something differs; with --exit-code 1 then.")]
pub(crate) struct Diff {
    /// The directory or file, or git:REV for a revision of the repository here, as it was committed
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// With -o: the file or directory that the patch makes of the first one
    #[arg(value_name = "NEW", requires = "output")]
    new: Option<PathBuf>,
    /// Where to write a patch that makes NEW of the first file or directory
    #[arg(short, long, value_name = "PATCH", requires = "new", conflicts_with_all = ["app", "release", "no_ignore", "map_owner", "chmod", "exit_code", "json"])]
    output: Option<PathBuf>,
    /// How hard to look for a small patch
    #[arg(long, value_enum, default_value_t = Trouble::Best, requires = "output")]
    effort: Trouble,
    /// The application; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The version or release to compare with [default: the one that is ordered now]
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// Compare everything, whatever the files .tidingignore in DIR say
    #[arg(long)]
    no_ignore: bool,
    #[command(flatten)]
    mapped: Mapped,
    /// End with exit code 1 when something differs
    #[arg(long)]
    exit_code: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Print what differs as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Diff {
    /// The patch that is asked for, if one is.
    pub(crate) fn patch(&self) -> Option<Making<'_>> {
        let (new, patch) = (self.new.as_deref()?, self.output.as_deref()?);
        Some(Making { old: &self.source, new, patch, trouble: self.effort })
    }

    /// Compares and prints.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = format!("cannot compare {}", self.source.display());
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(&what, &error))?;
        let app = choose_app(&client, self.app.as_deref(), &what).await?;
        let revision = git::revision_of(&self.source).map(|name| Revision::write(Path::new("."), &name)).transpose()?;
        let source = revision.as_ref().map_or_else(|| self.source.clone(), Revision::tree);
        let patterns = if self.no_ignore { Patterns::Overlooked } else { Patterns::Honoured };
        let options = DiffOptions { app, release: self.release.clone(), patterns, mapping: self.mapped.mapping() };
        let compared = publish::diff(&operator_home, &source, &options).await;
        let compared = compared.map_err(|error| cannot_deploy(&what, &error))?;
        match self.json {
            true => speak::json(&in_json(&options.app, &compared)),
            false => lines(&compared).into_iter().for_each(speak::result),
        }
        self.verdict(&compared)
    }

    fn verdict(&self, compared: &Changes) -> Result<(), Failure> {
        match self.exit_code && !compared.changes.is_empty() {
            true => Err(Failure::new(Kind::Failed, format!("{} is not what is compared with", self.source.display()))
                .because(summary(compared))
                .next("`tiding deploy` deploys it")),
            false => Ok(()),
        }
    }
}

/// One sentence of how much would change.
pub(crate) fn summary(compared: &Changes) -> String {
    let against = node::escape::escape(&compared.version);
    if compared.changes.is_empty() {
        return format!("nothing differs from {against}");
    }
    let count = |is: fn(&How) -> bool| compared.changes.iter().filter(|change| is(&change.how)).count();
    let (changed, added, removed) = counts(count);
    let (send, all) = (words::size(compared.would_send), words::size(compared.bytes));
    format!("{changed} changed, {added} added, {removed} removed since {against}; about {send} of {all} would be sent")
}

fn counts(count: impl Fn(fn(&How) -> bool) -> usize) -> (usize, usize, usize) {
    let changed = count(|how| matches!(how, How::Changed(_)));
    (changed, count(|how| *how == How::Added), count(|how| *how == How::Removed))
}

fn lines(compared: &Changes) -> Vec<String> {
    let mut table = Table::new(&["", "entry", "what", ">before", ">after"]);
    for Change { path, how, before, after } in &compared.changes {
        let size = |size: &Option<u64>| size.map_or_else(|| "-".to_owned(), words::size);
        let (word, what) = match how {
            How::Added => ("added", String::new()),
            How::Removed => ("removed", String::new()),
            How::Changed(aspects) => {
                ("changed", aspects.iter().map(|one| word_of(*one)).collect::<Vec<_>>().join(", "))
            }
        };
        table.row(vec![word.to_owned(), path.clone(), what, size(before), size(after)]);
    }
    let rows = if compared.changes.is_empty() { Vec::new() } else { table.lines() };
    rows.into_iter().chain([summary(compared)]).collect()
}

fn word_of(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Mode => "mode",
        Aspect::Link => "link",
        Aspect::Owner => "owner",
    }
}

fn in_json(app: &str, compared: &Changes) -> serde_json::Value {
    let one = |Change { path, how, before, after }: &Change| {
        let (change, what) = match how {
            How::Added => ("added", Vec::new()),
            How::Removed => ("removed", Vec::new()),
            How::Changed(aspects) => ("changed", aspects.iter().map(|aspect| word_of(*aspect)).collect()),
        };
        json!({ "path": path, "change": change, "what": what, "before": before, "after": after })
    };
    json!({
        "app": app,
        "release": compared.release.to_string(),
        "version": compared.version,
        "changes": compared.changes.iter().map(one).collect::<Vec<_>>(),
        "would_send": compared.would_send,
        "bytes": compared.bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{Digest, ReleaseId};

    #[test]
    fn what_differs_is_a_line_each_and_a_sentence() {
        let change = |path: &str, how, before, after| Change { path: path.to_owned(), how, before, after };
        let changes = vec![
            change("bin/app", How::Changed(vec![Aspect::Content, Aspect::Mode]), Some(1000), Some(2000)),
            change("new", How::Added, None, None),
        ];
        let release = ReleaseId(Digest::of(b"release"));
        let compared =
            Changes { release, version: "2.0".to_owned(), changes, would_send: 1_200_000, bytes: 40_000_000 };
        assert_eq!(
            lines(&compared),
            [
                "         entry    what           before   after",
                "changed  bin/app  content, mode  1.0 kB  2.0 kB",
                "added    new                          -       -",
                "1 changed, 1 added, 0 removed since 2.0; about 1.2 MB of 40.0 MB would be sent",
            ]
        );
        assert_eq!(lines(&Changes { changes: Vec::new(), ..compared }), ["nothing differs from 2.0"]);
    }
}
