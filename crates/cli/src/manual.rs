//! `tiding completions SHELL` and `tiding man DIR`: made from the same flags and words as `--help`.

use crate::arguments::Arguments;
use crate::failure::{Failure, Kind};
use crate::speak;
use crate::words;
use clap::{Args, CommandFactory};
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
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "tiding", &mut script);
        speak::result(String::from_utf8_lossy(&script).trim_end());
        Ok(())
    }
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
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let pages = write_pages(&self.directory).map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot write the manual into {}", self.directory.display()))
                .because(error)
                .next("give a directory in which you may write")
        })?;
        speak::result(format!("{} in {}", words::count(pages, "page"), self.directory.display()));
        Ok(())
    }
}

fn write_pages(directory: &Path) -> io::Result<usize> {
    fs::create_dir_all(directory)?;
    let tiding = Arguments::command().disable_help_subcommand(true);
    let pages = 1 + tiding.get_subcommands().count();
    clap_mangen::generate_to(tiding, directory).map(|()| pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let pages = write_pages(&directory.path().join("man1")).expect("written");
        let page = |name: &str| {
            fs::read_to_string(directory.path().join("man1").join(name)).expect("there is a page").replace('\\', "")
        };
        assert!(pages > 15, "{pages} pages");
        assert!(page("tiding.1").contains("deploy") && page("tiding-deploy.1").contains("--to"));
    }

    #[test]
    fn each_shell_completes_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tiding", &mut script);
            let script = String::from_utf8(script).expect("it is text");
            assert!(["rollback", "history", "operator-home"].iter().all(|word| script.contains(word)), "{shell}");
        }
    }
}
