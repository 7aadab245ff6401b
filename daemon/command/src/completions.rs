//! `headstart completions SHELL` and `headstart man FOLDER`: what packages install.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: clap_complete::Shell,
}

/// Write manual pages into a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// An existing folder
    folder: PathBuf,
}

impl Completions {
    /// Prints it.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "headstart", &mut script);
        std::io::Write::write_all(&mut std::io::stdout(), &script)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    /// Writes them: `headstart.1` and one page per subcommand.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        clap_mangen::generate_to(crate::Cli::command(), &self.folder)
            .with_context(|| format!("cannot write manual pages into {}", self.folder.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
