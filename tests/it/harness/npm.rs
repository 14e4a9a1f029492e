//! Node.js programs, with the modules that their lock files name.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use tokio::{process::Command, task::spawn_blocking};

/// Installs the modules of a folder of the repository, unless an earlier run did; returns the
/// folder that contains `node_modules`.
pub async fn install(source: &str) -> PathBuf {
    let name = source.rsplit('/').next().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let stamp = folder.join("installed.json");
    let lock = fs::read(source.join("package-lock.json")).unwrap();
    fs::create_dir_all(&folder).unwrap();
    // Two runs of npm in one folder would break it, also those of two processes.
    let installing = File::create(folder.join("installing")).unwrap();
    let _held = spawn_blocking(|| installing.lock().map(|()| installing)).await.unwrap().unwrap();
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
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

/// A command for a program that comes with Node.js.
pub fn program(name: &str) -> Command {
    let path = find(&[name]).unwrap_or_else(|| {
        panic!("{name} is missing: install Node.js and npm (Debian: apt-get install nodejs npm)")
    });
    Command::new(path)
}

/// Finds the first of these programs in the PATH.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).collect::<Vec<_>>();
    let mut candidates =
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}
