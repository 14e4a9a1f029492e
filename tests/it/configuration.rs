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
