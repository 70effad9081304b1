//! `tiding backup FILE` and `tiding restore FILE`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::words;
use clap::Args;
use node::backup::{self, BackupError};
use node::client::Client;
use std::path::PathBuf;

/// Writes down all that it takes to be this origin again: its identity, the fleet's CA and its journals.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding backup /mnt/safe/origin.tiding\n  (crontab)  7 * * * *  tiding backup /mnt/safe/origin.tiding\n\n\
    Run it on the origin's machine, while the origin runs. Whoever reads the file can be that origin, so it is readable by you \
    alone: keep it so. Pieces are not in it, the fleet has them; nor are operators' keys, which are in ~/.config/tiding: copy \
    that directory as well."
)]
pub(crate) struct Backup {
    /// Where to; what is there is replaced, whole or not at all
    file: PathBuf,
    /// The origin's home [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

impl Backup {
    /// Asks the origin for its journals and writes them beside its keys.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = "cannot make a backup";
        let home = settings.home(self.home.as_ref())?;
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        let journals = client.journals().await.map_err(|error| Failure::asking(what, &error))?;
        let extent = backup::take(&home, journals, &self.file).map_err(|error| failed(what, &error))?;
        speak::result(format!(
            "{}: {}, {}; it holds the origin's keys, keep it where nobody else reads it",
            self.file.display(),
            words::count(extent.facts, "fact"),
            words::size(extent.bytes as u64)
        ));
        Ok(())
    }
}

/// Makes this machine the origin again of which there is a backup.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding restore /mnt/safe/origin.tiding && tiding up\n\n\
    The old origin must be gone for good: two machines with one identity are one node in two places. Agents look for it at the \
    addresses that they know, so give this machine the old one's address. What was ordered after the backup was made is not in \
    it: `tiding status` says how far the fleet is, nobody goes back to anything older, and the next deploy is for all again.")]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// Where to make the origin's home; nothing may be there [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl Restore {
    /// Makes the home, and says what next.
    pub(crate) fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = settings.home(self.home.as_ref())?;
        let extent = backup::restore(&self.file, &home).map_err(|error| failed("cannot restore the origin", &error))?;
        speak::result(format!(
            "{}: the origin as it was at {} UTC, {}; `tiding up` starts it",
            home.display(),
            words::moment(extent.made),
            words::count(extent.facts, "fact")
        ));
        Ok(())
    }
}

/// The failure of something that is about a backup.
pub(crate) fn failed(what: &str, error: &BackupError) -> Failure {
    let kind = match error {
        BackupError::Journals(_) | BackupError::OtherFleet(_) | BackupError::NotEmpty(_) => Kind::Refused,
        BackupError::NoOrigin(_) | BackupError::OfAnother(_) | BackupError::NoBackup { .. } => Kind::Usage,
        BackupError::Disk { .. } | BackupError::Store(_) => Kind::Failed,
    };
    Failure::new(kind, what).because(error)
}
