//! The binary: parses the command line and calls into the library.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use ticketwire::cli::Cli;

// A query is answered in thousands of small allocations: a fifth of it was the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("ticketwire: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                // Most of our errors repeat their cause in their own words.
                if !text.contains(&cause.to_string()) {
                    text += &format!(": {cause}");
                }
                source = cause.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
