//! Flags that say what stands on each node besides what is published: what outlives releases, values of its own, owners, and what a release
//! takes the place of.

use crate::mapping::Mapped;
use clap::Args;
use content::SoftwareVersion;
use content::kept::{self, KeptKind, KeptPath};
use content::manifest::compare_paths;
use content::owner::Owner;
use content::release::Instructions;
use content::template::check_paths;
use node::publish::DeployOptions;

/// What outlives releases.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files of each node")]
pub(crate) struct Keeping {
    /// A directory of the release that outlives it: uploads, or uploads,mode=750,owner=33:33. On each node it stands beside the releases, in
    /// .NAME.tiding/kept, and each release has a link to it. It is made when it is not there (mode 755, the agent's user; another
    /// owner, in numbers, where the agent runs as root), and never removed; may be given several times
    #[arg(long, value_name = "PATH", value_parser = kept_directory)]
    keep_path: Vec<KeptPath>,
    /// The same for a file that somebody else makes there, a file of secrets say; a socket needs the directory it stands in
    #[arg(long, value_name = "PATH", value_parser = kept_file)]
    keep_file: Vec<KeptPath>,
    /// A file in which each node puts its own values for {{node}}, {{app}}, {{version}}, {{release}} and {{label.KEY}} (write {{{{ for {{); may be
    /// given several times
    #[arg(long, value_name = "PATH", value_parser = template)]
    render: Vec<Template>,
    /// To whom all of it belongs on each node: USER, USER:GROUP, or UID:GID; names are looked up there, and a node that does not know them
    /// refuses the release [default: as the tree here when root deploys, else root]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = owner, conflicts_with = "map_owner")]
    owner: Option<Owner>,
    #[command(flatten)]
    mapped: Mapped,
    /// The oldest version of tiding whose agents may lay it out, as 0.2.0: one that is older refuses it, and while one is selected and
    /// connected nothing is published
    #[arg(long, value_name = "VERSION")]
    min_agent: Option<SoftwareVersion>,
    /// Take the place of a directory that stands at PATH and that tiding did not make: each node moves it beside the releases, in one step,
    /// and never removes it; what --keep-path and --keep-file name in it is kept. It is what a node goes back to when the release is not well
    #[arg(long)]
    adopt: bool,
    /// How many releases each node keeps laid out besides the live one, to go back to; what runs, did well last or is ordered stays anyway
    #[arg(long, value_name = "RELEASES", default_value_t = 2, value_parser = clap::value_parser!(u8).range(..=i64::from(Instructions::MAX_KEEP)))]
    keep: u8,
}

impl Keeping {
    /// Says all of it in the options of a deploy.
    pub(crate) fn say(&self, options: DeployOptions) -> DeployOptions {
        let mut kept: Vec<KeptPath> = self.keep_path.iter().chain(&self.keep_file).cloned().collect();
        kept.sort_by(|one, other| compare_paths(&one.path, &other.path));
        let mut templates: Vec<Vec<u8>> = self.render.iter().map(|template| template.0.clone()).collect();
        templates.sort_by(|one, other| compare_paths(one, other));
        let (adopts, owner) = (self.adopt, self.owner.clone());
        let (min_agent, mapping) = (self.min_agent, self.mapped.mapping());
        DeployOptions { kept, templates, adopts, owner, mapping, min_agent, keep: self.keep, ..options }
    }
}

const HOW: &str = "write PATH, PATH,mode=750 or PATH,mode=750,owner=UID:GID with numbers";
/// The mode of a directory of which nobody said one.
const MODE: u16 = 0o755;

/// A directory, with the mode and owner that it is made with.
fn kept_directory(text: &str) -> Result<KeptPath, String> {
    let (path, settings) = text.split_once(',').map_or((text, None), |(path, rest)| (path, Some(rest)));
    let (mut mode, mut owner) = (MODE, None);
    for setting in settings.into_iter().flat_map(|settings| settings.split(',')) {
        match setting.split_once('=') {
            Some(("mode", octal)) => mode = u16::from_str_radix(octal, 8).map_err(|_| HOW)?,
            Some(("owner", ids)) => {
                let (uid, gid) = ids.split_once(':').ok_or(HOW)?;
                owner = Some((uid.parse().map_err(|_| HOW)?, gid.parse().map_err(|_| HOW)?));
            }
            _ => return Err(HOW.to_owned()),
        }
    }
    checked(path, KeptKind::Directory { mode, owner })
}

/// A file that somebody else makes.
fn kept_file(text: &str) -> Result<KeptPath, String> {
    checked(text, KeptKind::File)
}

fn owner(text: &str) -> Result<Owner, String> {
    text.parse().map_err(|bad: content::encoding::Malformed| bad.why)
}

/// The path of a file with values.
#[derive(Debug, Clone)]
struct Template(Vec<u8>);

fn template(text: &str) -> Result<Template, String> {
    let path = text.strip_prefix("./").unwrap_or(text).as_bytes().to_vec();
    check_paths(std::slice::from_ref(&path)).map_err(|bad| bad.why)?;
    Ok(Template(path))
}

fn checked(path: &str, kind: KeptKind) -> Result<KeptPath, String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path).as_bytes().to_vec();
    let kept = KeptPath { path, kind };
    kept::check(std::slice::from_ref(&kept)).map_err(|bad| bad.why)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_outlives_releases_is_read_with_its_mode_and_owner() {
        let directory =
            |path: &str, mode, owner| Ok(KeptPath { path: path.into(), kind: KeptKind::Directory { mode, owner } });
        assert_eq!(kept_directory("uploads"), directory("uploads", 0o755, None));
        assert_eq!(kept_directory("./a/b/,mode=750"), directory("a/b", 0o750, None));
        assert_eq!(kept_directory("a,owner=33:34,mode=0700"), directory("a", 0o700, Some((33, 34))));
        assert_eq!(kept_file("a/b"), Ok(KeptPath { path: b"a/b".to_vec(), kind: KeptKind::File }));
        for wrong in
            ["a,mode=9", "a,mode=1777", "a,owner=www-data:www-data", "a,owner=1", "a,x", "../a", "/a", "", "a//b"]
        {
            assert!(kept_directory(wrong).is_err(), "{wrong}");
        }
    }
}
