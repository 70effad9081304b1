//! `tiding completions SHELL` and `tiding man DIR`: made from the same flags and words as `--help`.

use crate::failure::{Failure, Kind};
use crate::speak;
use crate::words;
use clap::{Args, Command};
use clap_complete::Shell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Prints what a shell needs to complete commands and flags.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding completions bash > /etc/bash_completion.d/tiding\n  \
                        tiding completions zsh > /usr/share/zsh/site-functions/_tiding\n  \
                        tiding completions fish > ~/.config/fish/completions/tiding.fish")]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub(crate) fn run(&self, tiding: Command) -> Result<(), Failure> {
        speak::result(script(self.shell, tiding).trim_end());
        Ok(())
    }
}

/// What a shell reads.
pub(crate) fn script(shell: Shell, mut tiding: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tiding, "tiding", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes the manual: a page for each command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tiding man /usr/local/share/man/man1 && man tiding-deploy")]
pub(crate) struct Man {
    /// The directory for the pages; it is made if it is not there
    directory: PathBuf,
}

impl Man {
    /// Writes the pages and says how many there are.
    pub(crate) fn run(&self, tiding: Command) -> Result<(), Failure> {
        let pages = write_pages(&self.directory, tiding).map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot write the manual into {}", self.directory.display()))
                .because(error)
                .next("give a directory in which you may write")
        })?;
        speak::result(format!("{} in {}", words::count(pages, "page"), self.directory.display()));
        Ok(())
    }
}

/// Writes the pages; how many there are.
pub(crate) fn write_pages(directory: &Path, tiding: Command) -> io::Result<usize> {
    fs::create_dir_all(directory)?;
    let tiding = tiding.disable_help_subcommand(true);
    let pages = 1 + tiding.get_subcommands().count();
    clap_mangen::generate_to(tiding, directory).map(|()| pages)
}
