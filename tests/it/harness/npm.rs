//! Programs on Node.js, with the modules that their lock file names.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tokio::{process::Command, sync::Mutex};

/// npm doesn't take turns by itself.
static TURN: Mutex<()> = Mutex::const_new(());

/// A folder with the modules of a folder of the repository, installed unless an earlier
/// run did.
pub async fn install(source: &str) -> PathBuf {
    let name = source.rsplit('/').next().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let stamp = folder.join("installed.json");
    let lock = fs::read(source.join("package-lock.json")).unwrap();
    let _turn = TURN.lock().await;
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        fs::create_dir_all(&folder).unwrap();
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(source.join(name), folder.join(name)).unwrap();
        }
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        let ran = program("npm").args(npm).current_dir(&folder).output().await.unwrap();
        assert!(ran.status.success(), "npm ci: {}", String::from_utf8_lossy(&ran.stderr));
        fs::write(&stamp, lock).unwrap();
    }
    folder
}

/// A program of Node.js.
pub fn program(name: &str) -> Command {
    let path = find(&[name]).unwrap_or_else(|| {
        panic!("{name} is missing: install Node.js and npm (Debian: apt-get install nodejs npm)")
    });
    Command::new(path)
}

/// The first of some programs that is in the PATH.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).collect::<Vec<_>>();
    let mut candidates =
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}
