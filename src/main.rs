//! The binary: parses the command line, runs the library, and reports errors.

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use mimalloc::MiMalloc;
use rustix::{fs::Mode, process::umask};
use ticketwire::{
    cli::{Cli, is_refused_config, warn},
    domain::causes::with_causes,
};
use tokio::runtime::Runtime;

// A query makes thousands of small allocations: the system's allocator took a fifth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the process waits at its end for calls that block threads, such as those on a shared
/// folder whose server does not answer.
const BLOCKED: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Mails, attachments and the ledger of erasures are for nobody else to read.
    umask(Mode::RWXG | Mode::RWXO);
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            warn(&format!("ticketwire: threads cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run());
    runtime.shutdown_timeout(BLOCKED);
    code
}

async fn run() -> ExitCode {
    // Boxed, since it is large.
    match Box::pin(Cli::parse().run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Most errors already include the text of their cause.
            warn(&format!("ticketwire: {}", with_causes(&*error)));
            if is_refused_config(&*error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
