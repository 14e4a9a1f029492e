//! The binary: parses the command line, runs the library, and reports errors.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use ticketwire::cli::{CannotCheck, Cli};

// A query makes thousands of small allocations: the system's allocator took a fifth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Boxed, since it is large.
    match Box::pin(Cli::parse().run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("ticketwire: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                // Most errors already include the text of their cause.
                if !text.contains(&cause.to_string()) {
                    text += &format!(": {cause}");
                }
                source = cause.source();
            }
            eprintln!("{text}");
            if error.is::<CannotCheck>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
