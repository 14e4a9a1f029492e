//! What packages contain next to the binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ticketwire::config::{self, Config};

use crate::harness::process;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

#[test]
fn the_unit_is_hardened() {
    let unit = packaging("ticketwire.service");
    let check = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=30", "--no-pager"])
        .arg(unit)
        .stdin(Stdio::null())
        .output()
        .expect("systemd-analyze, of Debian's package `systemd`: run `scripts/setup test`");
    let report = String::from_utf8_lossy(&check.stdout);
    let level = report.lines().last().unwrap_or_default();
    assert!(check.status.success(), "{level}{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn the_settings_of_the_package_are_valid_also_those_that_are_commented_out() {
    let file = packaging("ticketwire.toml");
    let config = Config::load(Some(&file), &[]).unwrap();
    assert!(!config.embeds_database(), "the package never runs the demo");
    // A setting is commented out with `#` alone, text with `# `.
    let all = fs::read_to_string(&file).unwrap().replace("\n#", "\n").replace("\n ", "\n# ");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ticketwire.toml");
    fs::write(&path, all).unwrap();
    let config = Config::load(Some(&path), &[]).unwrap();
    assert!(config.speaks_tls());
    assert_eq!(config.trusted_proxies, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_writes_completions_and_manual_pages() {
    for (shell, part) in [
        ("bash", "complete -F _ticketwire"),
        ("zsh", "#compdef ticketwire"),
        ("fish", "complete -c ticketwire"),
    ] {
        let printed = process::run(&["generate", "completions", shell], &[], "").await;
        assert!(printed.success && printed.stdout.contains(part), "{shell}: {}", printed.stdout);
    }
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let written = process::run(&["generate", "man", man.to_str().unwrap()], &[], "").await;
    assert!(written.success, "{}", written.stderr);
    let page = fs::read_to_string(man.join("ticketwire.1")).unwrap();
    assert!(page.contains("ticketwire\\-serve(1)"), "{page}");
    assert!(man.join("ticketwire-mail-retry.1").exists());
    assert!(!page.contains("generate"), "only packagers need it");
}

#[test]
fn the_container_runs_as_an_unprivileged_user_with_settings_that_exist() {
    let dockerfile = fs::read_to_string(packaging("Dockerfile")).unwrap();
    let last = |instruction: &str| dockerfile.lines().rfind(|line| line.starts_with(instruction));
    assert_eq!(last("USER "), Some("USER nonroot"));
    assert!(last("FROM ").unwrap().ends_with(":nonroot"));
    let compose = fs::read_to_string(packaging("compose.yaml")).unwrap();
    let reference = config::reference();
    let variables = |text: &str| {
        let names =
            text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        let own = names.filter(|name| name.starts_with("TICKETWIRE_")).map(str::to_owned);
        own.collect::<Vec<_>>()
    };
    let used = [variables(&dockerfile), variables(&compose)].concat();
    assert!(used.len() > 4, "{used:?}");
    for variable in used {
        assert!(reference.contains(&format!("`{variable}`")), "{variable} is not a setting");
    }
}
