//! Tells cargo what else the binary is made of, and packs the playground into it.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use flate2::{Compression, write::GzEncoder};

/// What our own files of the playground are told by.
const OWN: [&str; 4] = ["html", "css", "js", "svg"];

/// Other people's files, with their licences: where npm puts them, and the name
/// that they are served by.
const VENDOR: [(&str, &str); 9] = [
    ("react/umd/react.production.min.js", "vendor/react.js"),
    ("react-dom/umd/react-dom.production.min.js", "vendor/react-dom.js"),
    ("graphiql/graphiql.min.js", "vendor/graphiql.js"),
    ("graphiql/graphiql.min.css", "vendor/graphiql.css"),
    ("graphql-ws/umd/graphql-ws.min.js", "vendor/graphql-ws.js"),
    ("react/LICENSE", "vendor/react.LICENSE.txt"),
    ("react-dom/LICENSE", "vendor/react-dom.LICENSE.txt"),
    ("graphiql/LICENSE", "vendor/graphiql.LICENSE.txt"),
    ("graphql-ws/LICENSE.md", "vendor/graphql-ws.LICENSE.txt"),
];

/// What `npm ci` reads.
const MANIFEST: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

fn main() -> ExitCode {
    // `embed_migrations!` doesn't notice new folders by itself.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=playground");
    println!("cargo::rerun-if-env-changed=CI");
    match pack() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=the playground can't be packed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes `playground.rs`, which `src/http/playground/assets.rs` includes.
fn pack() -> io::Result<()> {
    let source = PathBuf::from("playground");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let vendor = out.join("vendor");
    fs::create_dir_all(&vendor)?;

    let mut files = Vec::new();
    for path in files_of(&source, &OWN)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let packed = out.join(format!("{name}.gz"));
        compress(&path, &packed)?;
        files.push((name, packed));
    }
    let missing = install(&source, &out, &vendor).err();
    match &missing {
        None => {
            files.extend(VENDOR.map(|(_, name)| (name.to_owned(), out.join(format!("{name}.gz")))))
        }
        Some(reason) if must_be_whole() => {
            return Err(io::Error::other(format!("{reason}; install Node.js and npm")));
        }
        Some(reason) => {
            println!("cargo::warning=built without the playground: {reason}");
            // A file that doesn't exist: the next build tries again.
            println!("cargo::rerun-if-changed=playground/node_modules");
        }
    }

    let files = files
        .iter()
        .map(|(name, path)| format!("File {{ name: {name:?}, gzip: include_bytes!({path:?}) }},\n"))
        .collect::<String>();
    let operations = operations(&source.join("operations"))?;
    let text = format!(
        "pub const FILES: &[File] = &[\n{files}];\n\
         pub const OPERATIONS: &[Operation] = &[\n{operations}];\n\
         pub const MISSING: Option<&str> = {missing:?};\n"
    );
    fs::write(out.join("playground.rs"), text)
}

/// What is handed on to others has everything in it.
fn must_be_whole() -> bool {
    env::var("PROFILE").is_ok_and(|profile| profile == "release")
        || env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}

/// Fetches other people's files with npm, unless an earlier run fetched the same.
fn install(source: &Path, out: &Path, vendor: &Path) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let stamp = vendor.join("package-lock.json");
    let lock = fs::read(source.join("package-lock.json")).map_err(failed)?;
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    // Not in the source tree: that stays as it is checked out.
    let scratch = out.join("npm");
    fs::create_dir_all(&scratch).map_err(failed)?;
    for name in MANIFEST {
        fs::copy(source.join(name), scratch.join(name)).map_err(failed)?;
    }
    let npm =
        ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let ran = Command::new("npm").args(npm).arg("--prefer-offline").current_dir(&scratch).output();
    let ran = ran.map_err(|error| format!("npm can't be run ({error})"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason");
        return Err(format!("npm ci failed, {}: {line}", ran.status));
    }
    for (path, name) in VENDOR {
        let packed = out.join(format!("{name}.gz"));
        compress(&scratch.join("node_modules").join(path), &packed).map_err(failed)?;
    }
    // 56 MB, of which 1.5 are wanted.
    fs::remove_dir_all(&scratch).map_err(failed)?;
    fs::write(&stamp, lock).map_err(failed)
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?;
    let mut encoder = GzEncoder::new(fs::File::create(to)?, Compression::best());
    encoder.write_all(&bytes)?;
    encoder.finish().map(drop)
}

/// The story's operations in the order of their names, each with its variables.
fn operations(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for path in files_of(folder, &["graphql"])? {
        let query = fs::read_to_string(&path)?;
        let variables = path.with_extension("json");
        let variables = match variables.exists() {
            true => fs::read_to_string(variables)?,
            false => String::new(),
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        text += &format!(
            "Operation {{ name: {name:?}, query: {query:?}, variables: {:?} }},\n",
            variables.trim()
        );
    }
    Ok(text)
}

/// The files of a folder that have one of some extensions, in the order of their names.
fn files_of(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| extensions.iter().any(|wanted| path.extension() == Some(wanted.as_ref())));
    paths.sort();
    Ok(paths)
}
