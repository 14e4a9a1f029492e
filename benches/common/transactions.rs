//! Transactions per second, counted by pgbench, which comes with Postgres.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Runs a script over and over on a number of connections, without preparing any tables. Returns
/// the transactions per second, or `None` if pgbench is not installed or fails.
pub fn per_second(
    url: &str,
    script: &str,
    connections: usize,
    time: Duration,
    options: &[&str],
) -> Option<f64> {
    let program = program()?;
    let file = std::env::temp_dir().join(format!("ticketwire-bench-{}.sql", std::process::id()));
    std::fs::write(&file, script).expect("a script");
    let output = Command::new(program)
        // As a connection of the server does, scripts write the entries of the queue themselves.
        .env("PGOPTIONS", "-c ticketwire.queue_entries=on")
        .args(["-n", "-c", &connections.to_string(), "-T", &time.as_secs().to_string()])
        .args(options)
        .arg("-f")
        .arg(&file)
        .arg(url)
        .output()
        .ok()?;
    let _ = std::fs::remove_file(file);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    if rate.is_none() {
        eprintln!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    rate?.parse().ok()
}

fn program() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.flatten().map(|version| version.path().join("bin/pgbench"));
    found.filter(|path| Path::exists(path)).max()
}
