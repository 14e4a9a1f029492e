//! The documentation of the settings matches the code.

use std::{fs, path::Path};

use crate::harness::process;

const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->\n";

#[test]
fn the_configuration_page_lists_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let page = fs::read_to_string(path).unwrap();
    let table = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (table, _) = table.expect("docs/CONFIGURATION.md has both markers");
    assert!(
        table == ticketwire::config::reference(),
        "docs/CONFIGURATION.md is out of date: replace the lines between its markers with the \
         output of `cargo run -- config reference`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn config_reference_prints_the_table_even_if_the_configuration_is_invalid() {
    let variables = [("TICKETWIRE_LISTEN", "nonsense")];
    let printed = process::run(&["config", "reference"], &variables, "").await;
    assert!(printed.success, "{}", printed.stderr);
    assert_eq!(printed.stdout, ticketwire::config::reference());
}

#[tokio::test(flavor = "multi_thread")]
async fn config_show_prints_each_value_in_effect_with_its_source_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticketwire.toml");
    let text = "drain_seconds = 7\nlisten = \"127.0.0.1:1\"\n[tickets]\nprefix = \"AB\"";
    fs::write(&file, text).unwrap();
    let variables = [
        ("DATABASE_URL", "postgres://desk:hunter2@localhost/desk"),
        ("TICKETWIRE_LISTEN", "127.0.0.1:2"),
        ("TICKETWIRE_BRANDING_NAME", "A \"B\""),
        ("TICKETWIRE_TRACING_OTLP_ENDPOINT", "https://user:hunter2@collector/v1"),
    ];
    let file = file.to_str().unwrap();
    let arguments = ["--config", file, "--data-dir", "/srv/data", "config", "show"];
    let shown = process::run(&arguments, &variables, "").await;
    assert!(shown.success, "{}", shown.stderr);
    for line in [
        "listen = \"127.0.0.1:2\" # environment",
        "data_dir = \"/srv/data\" # flag",
        "drain_seconds = 7 # file",
        "portal = true # default",
        "database.url = \"***\" # environment",
        "tickets.prefix = \"AB\" # file",
        "branding.name = 'A \"B\"' # environment",
        "tracing.otlp_endpoint = \"https://***@collector/v1\" # environment",
        "tracing.sample_ratio = 0.1 # default",
        "# storage.folder is not set",
    ] {
        assert!(shown.stdout.lines().any(|it| it == line), "{line}: {}", shown.stdout);
    }
    assert!(shown.stdout.contains(file) && !shown.stdout.contains("hunter2"), "{}", shown.stdout);
    // The keys of the reference, in its order.
    let keys = shown
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.trim_start_matches("# ").split(' ').next().unwrap().to_owned());
    let reference = ticketwire::config::reference();
    let known = reference.lines().skip(2).map(|row| row.split('`').nth(1).unwrap().to_owned());
    assert_eq!(keys.collect::<Vec<_>>(), known.collect::<Vec<_>>());
    shown.stdout.parse::<toml::Table>().unwrap();
}
