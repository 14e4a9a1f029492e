//! `generate`: the files that a package contains next to the binary.

use std::{fs, io, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{
    arguments::{Cli, GenerateCommand},
    output::{CliResult, print},
};

/// Prints completions, or writes manual pages.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn run(command: &GenerateCommand) -> CliResult {
    match command {
        GenerateCommand::Completions { shell } => print(&completions(*shell)),
        GenerateCommand::Man { folder } => {
            let failed = |error: io::Error| format!("cannot write {}: {error}", folder.display());
            Ok(write_manual(folder).map_err(failed)?)
        }
    }
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ticketwire", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for the program and for each of its commands.
fn write_manual(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
