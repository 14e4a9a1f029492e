//! Packs the web app and the playground into the binary, and tells cargo which files the binary depends on.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use flate2::{Compression, write::GzEncoder};

/// The extensions of the playground's own files.
const OWN: [&str; 4] = ["html", "css", "js", "svg"];

/// The files of other projects, with their licences: where npm installs them, and the name that
/// they are served under.
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

/// The files that `npm ci` reads.
const MANIFEST: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// What the web app is built from, in `web`.
const WEB: [&str; 10] = [
    ".npmrc",
    "desk.html",
    "index.html",
    "package.json",
    "package-lock.json",
    "scripts",
    "src",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
];

fn main() -> ExitCode {
    // `embed_migrations!` does not notice new folders.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=playground");
    for part in WEB {
        println!("cargo::rerun-if-changed=web/{part}");
    }
    println!("cargo::rerun-if-env-changed=CI");
    for (name, packed) in [("playground", pack_playground()), ("web app", pack_web_app())] {
        if let Err(error) = packed {
            println!("cargo::error=the {name} cannot be packed: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Compresses the files and writes `playground.rs`, which `src/http/playground.rs` includes.
fn pack_playground() -> io::Result<()> {
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
            files.extend(VENDOR.map(|(_, name)| (name.to_owned(), out.join(format!("{name}.gz")))));
        }
        Some(reason) if is_required() => {
            return Err(io::Error::other(format!("{reason}; install Node.js and npm")));
        }
        Some(reason) => {
            println!("cargo::warning=built without the playground: {reason}");
            // This file never exists, so the next build tries again.
            println!("cargo::rerun-if-changed=playground/node_modules");
        }
    }

    let files = files
        .iter()
        .map(|(name, path)| {
            format!(
                "File {{ name: {name:?}, gzip: include_bytes!({:?}), brotli: &[] }},\n",
                path.display().to_string()
            )
        })
        .collect::<String>();
    let operations = operations(&source.join("operations"))?;
    let text = format!(
        "const FILES: &[File] = &[\n{files}];\n\
         const OPERATIONS: &[Operation] = &[\n{operations}];\n\
         const MISSING: Option<&str> = {missing:?};\n"
    );
    fs::write(out.join("playground.rs"), text)
}

/// Builds the web app and writes `web_app.rs`, which `src/http/web_app.rs` includes.
fn pack_web_app() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let packed = out.join("web_app");
    let missing = build_web_app(&out, &packed).err();
    if let Some(reason) = &missing {
        if is_required() {
            return Err(io::Error::other(format!("{reason}; install Node.js and npm")));
        }
        println!("cargo::warning=built without the web app: {reason}");
        // This file never exists, so the next build tries again.
        println!("cargo::rerun-if-changed=web/never");
    }
    let names = match &missing {
        None => fs::read_to_string(packed.join("names"))?,
        Some(_) => String::new(),
    };
    let file = |name: &str| {
        let path =
            |extension: &str| packed.join(format!("{name}.{extension}")).display().to_string();
        let (gzip, brotli) = (path("gz"), path("br"));
        format!(
            "File {{ name: {name:?}, gzip: include_bytes!({gzip:?}), brotli: include_bytes!({brotli:?}) }},\n"
        )
    };
    let files = names.lines().map(file).collect::<String>();
    let text = format!(
        "const FILES: &[File] = &[\n{files}];\nconst MISSING: Option<&str> = {missing:?};\n"
    );
    fs::write(out.join("web_app.rs"), text)
}

/// Builds and compresses the web app, unless an earlier build has done it from the same sources.
fn build_web_app(out: &Path, packed: &Path) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let mut sources = Vec::new();
    for part in WEB {
        list(&PathBuf::from("web").join(part), &mut sources).map_err(failed)?;
    }
    sources.sort();
    let mut content = Vec::new();
    for path in &sources {
        content.extend(path.display().to_string().into_bytes());
        content.extend(fs::read(path).map_err(failed)?);
    }
    let stamp = packed.join("sources");
    if fs::read(&stamp).is_ok_and(|built| built == content) {
        return Ok(());
    }
    // In a folder of its own, because a build must not change the source tree.
    let scratch = out.join("web");
    for path in &sources {
        let copy = out.join(path);
        fs::create_dir_all(copy.parent().unwrap_or(out)).map_err(failed)?;
        fs::copy(path, copy).map_err(failed)?;
    }
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").args(install).arg("--prefer-offline").current_dir(&scratch))?;
    run(Command::new("npm").args(["run", "build"]).current_dir(&scratch))?;
    let pack = ["scripts/pack.mjs", "dist"];
    run(Command::new("node").args(pack).arg(packed).current_dir(&scratch))?;
    fs::remove_dir_all(&scratch).map_err(failed)?;
    fs::write(&stamp, content).map_err(failed)
}

/// Runs a program. If it fails, returns the last line of what it said.
fn run(command: &mut Command) -> Result<(), String> {
    let called = format!("{command:?}");
    let ran = command.output().map_err(|error| format!("{called} cannot be run ({error})"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{called} failed, {}: {line}", ran.status))
}

/// Appends the files at a path, which may be a folder.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}

/// Whether a build without the web app or the playground fails: a release or one in CI, which
/// others will use.
fn is_required() -> bool {
    env::var("PROFILE").is_ok_and(|profile| profile == "release")
        || env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}

/// Fetches the files of other projects with npm, unless an earlier build has fetched the same
/// versions.
fn install(source: &Path, out: &Path, vendor: &Path) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let stamp = vendor.join("package-lock.json");
    let lock = fs::read(source.join("package-lock.json")).map_err(failed)?;
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    // In a folder of its own, because a build must not change the source tree.
    let scratch = out.join("npm");
    fs::create_dir_all(&scratch).map_err(failed)?;
    for name in MANIFEST {
        fs::copy(source.join(name), scratch.join(name)).map_err(failed)?;
    }
    let npm =
        ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").args(npm).arg("--prefer-offline").current_dir(&scratch))?;
    for (path, name) in VENDOR {
        let packed = out.join(format!("{name}.gz"));
        compress(&scratch.join("node_modules").join(path), &packed).map_err(failed)?;
    }
    // The folder has 56 MB, of which the build needs 1.5.
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

/// Returns the operations of the tour in the order of their names, each with its variables.
fn operations(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for path in files_of(folder, &["graphql"])? {
        let query = fs::read_to_string(&path)?;
        let variables = path.with_extension("json");
        let variables =
            if variables.exists() { fs::read_to_string(variables)? } else { String::new() };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        text += &format!(
            "Operation {{ name: {name:?}, query: {query:?}, variables: {:?} }},\n",
            variables.trim()
        );
    }
    Ok(text)
}

/// Returns the files in a folder that have one of the extensions, in the order of their names.
fn files_of(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| extensions.iter().any(|known| path.extension() == Some(known.as_ref())));
    paths.sort();
    Ok(paths)
}
