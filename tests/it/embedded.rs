//! `serve` with its embedded Postgres, as a newcomer starts it.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;
use tokio::{process::Command, time};

use crate::harness::{
    Client,
    postgres::{DataFolder, TestDatabase},
    process::{self, Process},
};

/// The processes that have a folder on their command line, with their ids.
fn processes_on(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(folder) {
            found.push(format!("{}: {command}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

/// Waits until no process has the folder on its command line.
async fn wait_until_nothing_runs_on(folder: &str) {
    for _ in 0..200 {
        if processes_on(folder).is_empty() {
            return;
        }
        // Polling: only its parent can wait for a process.
        time::sleep(Duration::from_millis(25)).await;
    }
    panic!("still running: {:#?}", processes_on(folder));
}

async fn sign_in(server: &Process, email: &str) -> Client {
    Client::new(&server.address, None).sign_in(email, "ticketwire-demo").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_creates_demo_data_and_changes_survive_a_restart() {
    let folder = DataFolder::new("newcomer");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path())];
    let server = Process::serve(&variables).await;
    for account in [
        "customer@demo.example",
        "other-customer@demo.example",
        "agent@demo.example",
        "admin@demo.example",
        "ticketwire-demo",
    ] {
        assert!(server.welcome.contains(account), "{}", server.welcome);
    }
    let (anna, marta) = (
        sign_in(&server, "customer@demo.example").await,
        sign_in(&server, "agent@demo.example").await,
    );
    let counts =
        "{ a: tickets(first: 100, filter: { status: [WAITING_FOR_SUPPORT] }) { nodes { id } }
        b: tickets(first: 100, filter: { status: [WORKING_ON_IT] }) { nodes { id } }
        c: tickets(first: 100, filter: { status: [WAITING_FOR_CUSTOMER] }) { nodes { id } }
        d: tickets(first: 100, filter: { status: [RESOLVED] }) { nodes { id } }
        e: tickets(first: 100, filter: { status: [CLOSED] }) { nodes { id } } }";
    let data = marta.ok(counts, json!({})).await;
    let lengths = "abcde"
        .chars()
        .map(|list| data[list.to_string()]["nodes"].as_array().unwrap().len())
        .collect::<Vec<_>>();
    assert!(lengths.iter().all(|length| *length >= 10), "{lengths:?}");
    assert!(lengths.iter().sum::<usize>() >= 100, "{lengths:?}");
    let ticket = anna.create_ticket("mine").await;
    // The command line finds the database of the running server.
    let create =
        ["user", "create", "--email", "new@example.com", "--name", "New", "--password-stdin"];
    let created = process::run(&create, &variables, "a good password\n").await;
    assert!(created.success, "{}", created.stderr);
    assert!(server.terminate(Signal::INT).await);
    wait_until_nothing_runs_on(folder.path()).await;

    let again = Process::serve(&variables).await;
    let anna = sign_in(&again, "customer@demo.example").await;
    let query = "query($n: String!) { ticket(number: $n) { summary } }";
    let found = anna.ok(query, json!({ "n": ticket.number })).await;
    assert_eq!(found["ticket"]["summary"], "mine");
    Client::new(&again.address, None).sign_in("new@example.com", "a good password").await;
    assert!(again.terminate(Signal::TERM).await);
    wait_until_nothing_runs_on(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_processes_and_can_be_started_again() {
    let folder = DataFolder::new("kill");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path())];
    let server = Process::serve(&variables).await;
    let ticket = sign_in(&server, "customer@demo.example").await.create_ticket("mine").await;
    server.kill().await;
    // Started at once: it waits until the database of the killed server has stopped.
    let server = Process::serve(&variables).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    let query = "query($n: String!) { ticket(number: $n) { summary } }";
    anna.ok(query, json!({ "n": ticket.number })).await;
    server.kill().await;
    wait_until_nothing_runs_on(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_can_follow_one_with_its_own_database_in_a_data_folder() {
    let (folder, database) = (DataFolder::new("follows"), TestDatabase::new().await);
    let own = [("TICKETWIRE_DATA_DIR", folder.path()), ("DATABASE_URL", database.url.as_str())];
    assert!(Process::serve(&own).await.terminate(Signal::TERM).await);
    let mode = std::fs::metadata(folder.path()).unwrap().mode();
    assert_eq!(mode & 0o066, 0, "others can look into the data folder");
    let server = Process::serve(&[("TICKETWIRE_DATA_DIR", folder.path())]).await;
    sign_in(&server, "customer@demo.example").await;
    assert!(server.terminate(Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_folder_is_refused() {
    let folder = DataFolder::new("second");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    let server = Process::serve(&variables).await;
    let second = process::run(&["serve"], &variables, "").await;
    assert!(!second.success);
    assert!(
        second.stderr.contains(&server.pid().to_string()) && second.stderr.contains(folder.path()),
        "{}",
        second.stderr
    );
    sign_in(&server, "customer@demo.example").await;
    assert!(server.terminate(Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_demo_accounts_refuses_to_listen_on_all_interfaces() {
    let folder = DataFolder::new("world");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_LISTEN", "0.0.0.0:0")];
    let refused = process::run(&["serve"], &variables, "").await;
    assert!(!refused.success && refused.stderr.contains("`listen`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("DATABASE_URL"), "{}", refused.stderr);
    assert!(!Path::new(folder.path()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_postgres_is_an_error_that_names_the_folder_searched() {
    let folder = DataFolder::new("none");
    let empty = DataFolder::new("none-bin");
    std::fs::create_dir_all(&empty.0).unwrap();
    std::fs::set_permissions(&empty.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(std::fs::metadata(&empty.0).unwrap().mode() & 0o777 == 0o755);
    let variables =
        [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_EMBEDDED_BIN_DIR", empty.path())];
    let refused = process::run(&["serve"], &variables, "").await;
    assert!(!refused.success);
    assert!(refused.stderr.contains(empty.path()), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_creates_no_installation_where_none_is() {
    let folder = DataFolder::new("nothing");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path())];
    let target = format!("{}.backup", folder.path());
    for arguments in [&["backup", &target][..], &["migrate"], &["restored"], &["doctor"]] {
        let mut command = process::command(&variables);
        // Without these, the first start creates a key.
        let ended = command.env_remove("TICKETWIRE_SECURITY_SEALING_KEYS").args(arguments).output();
        let refused =
            time::timeout(Duration::from_mins(1), ended).await.expect("an end in time").unwrap();
        let text = [refused.stdout, refused.stderr].map(|it| String::from_utf8(it).unwrap());
        let text = text.concat();
        assert!(!refused.status.success(), "{text}");
        for words in ["there is no installation in", folder.path(), "DATABASE_URL", "--data-dir"] {
            assert!(text.contains(words), "no `{words}`: {text}");
        }
        assert!(!folder.0.exists(), "{arguments:?}");
        assert!(!Path::new(&target).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_a_short_error_without_a_panic() {
    for (url, expected) in [
        ("postgres://nobody@127.0.0.1:1/none", "127.0.0.1"),
        ("nonsense", "postgres://user:password@host"),
    ] {
        let variables = [("DATABASE_URL", url)];
        let refused = process::run(&["migrate"], &variables, "").await;
        assert!(!refused.success && !refused.stderr.contains("panicked"), "{}", refused.stderr);
        assert!(refused.stderr.lines().count() < 4, "{}", refused.stderr);
        assert!(url != "nonsense" || refused.stderr.contains(expected), "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_a_connection_is_an_error_with_the_remedy() {
    let database = TestDatabase::empty().await;
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let missing = format!("{server}/ticketwire_missing");
    let refused = process::run(&["migrate"], &[("DATABASE_URL", &missing)], "").await;
    assert!(!refused.success);
    for words in ["\"ticketwire_missing\" does not exist", "createdb", "`database.url`"] {
        assert!(refused.stderr.contains(words), "no `{words}`: {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("creating a new object"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_the_database_is_named() {
    let text = errors_on_a_small_disk(
        "mount -t tmpfs -o size=20m tmpfs \"$1\" || exit 77
         mkdir -m 755 \"$1/data\" && exec \"$2\" serve",
    )
    .await;
    assert!(text.contains("its disk is full. Make room, then start again"), "{text}");
    // The disk has become full since the first start, and Postgres has crashed.
    let text = errors_on_a_small_disk(
        "mount -t tmpfs -o size=200m tmpfs \"$1\" || exit 77
         mkdir -m 755 \"$1/data\" && mkfifo \"$1/out\" || exit 78
         \"$2\" serve >\"$1/out\" 2>/dev/null & read -r ready <\"$1/out\"
         kill -KILL $!; wait $!; dd if=/dev/zero of=\"$1/fill\" bs=64k 2>/dev/null
         exec \"$2\" serve",
    )
    .await;
    // Postgres ends at once, or later, when it lets nobody connect.
    assert!(text.contains(" is full") && text.contains("ake room, then start again"), "{text}");
}

/// What a script for a disk that only it sees writes to standard error. `$1` is its folder, `$2` the binary.
async fn errors_on_a_small_disk(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.args(if is_root { &["-m"][..] } else { &["-cm", "--keep-caps"] });
    command.args(["sh", "-c", script, "sh"]).arg(folder.path());
    command.arg(env!("CARGO_BIN_EXE_ticketwire"));
    command.env("TICKETWIRE_DATA_DIR", folder.path().join("data"));
    command.env("TICKETWIRE_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).kill_on_drop(true);
    let ended = time::timeout(Duration::from_mins(1), command.output()).await;
    String::from_utf8(ended.expect("an end in time").unwrap().stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_print_help_and_unknown_variables_are_refused() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["user", "create", "--help"]] {
        let help = process::run(arguments, &[], "").await;
        assert!(help.success && help.stdout.contains("Usage"), "{arguments:?}");
    }
    let wrong = process::run(&["serve"], &[("TICKETWIRE_LISTNE", "x")], "").await;
    assert!(!wrong.success && wrong.stderr.contains("TICKETWIRE_LISTNE"), "{}", wrong.stderr);
    let before = process::run(&["--listen", "192.0.2.1:1", "serve"], &[], "").await;
    assert!(before.stderr.contains("cannot listen on 192.0.2.1:1"), "{}", before.stderr);
    let other = process::run(&["--listen", "192.0.2.1:1", "migrate"], &[], "").await;
    assert!(!other.success && other.stderr.contains("--listen"), "{}", other.stderr);
    let schema = process::run(&["schema"], &[], "").await;
    assert_eq!(schema.stdout, ticketwire::graphql::sdl());
}

/// The process id of the Postgres on a folder, once there is one other than `not`.
async fn postmaster(folder: &DataFolder, not: Option<i32>) -> i32 {
    let file = folder.0.join("postgres/postmaster.pid");
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        if let Some(pid) = pid.filter(|pid| text.contains("ready") && Some(*pid) != not) {
            return pid;
        }
        tokio::task::yield_now().await;
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_is_started_again_and_the_server_serves_on() {
    let folder = DataFolder::new("postmaster");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path())];
    let server = Process::serve(&variables).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    let ticket = anna.create_ticket("mine").await;
    let mut old = postmaster(&folder, None).await;
    for round in 0..2 {
        kill(old);
        let back = async {
            old = postmaster(&folder, Some(old)).await;
            while anna.try_post_comment(&ticket, &round.to_string()).await.is_none() {}
        };
        time::timeout(Duration::from_mins(1), back).await.expect("a server that serves again");
    }
    assert!(server.terminate(Signal::TERM).await);
    wait_until_nothing_runs_on(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_cannot_be_started_again_ends_the_server_with_the_reason() {
    let folder = DataFolder::new("broken");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_DRAIN_SECONDS", "0")];
    let server = Process::serve(&variables).await;
    let old = postmaster(&folder, None).await;
    std::fs::remove_file(folder.0.join("postgres/global/pg_control")).unwrap();
    kill(old);
    let (success, log) = server.end().await;
    assert!(!success && log.contains("could not be kept running (5 attempts)"), "{log}");
    assert!(log.contains("pg_control"), "{log}");
    wait_until_nothing_runs_on(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_keeps_ending_ends_the_server() {
    let folder = DataFolder::new("ending");
    let variables = [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_DRAIN_SECONDS", "0")];
    let server = Process::serve(&variables).await;
    let mut running = postmaster(&folder, None).await;
    for _ in 0..5 {
        kill(running);
        running = postmaster(&folder, Some(running)).await;
    }
    kill(running);
    let ended = time::timeout(Duration::from_secs(20), server.end()).await;
    let (success, log) = ended.expect("a server that gives up");
    assert!(!success && log.contains("could not be kept running (5 attempts)"), "{log}");
    assert!(log.contains("Postgres ended soon after its start"), "{log}");
    wait_until_nothing_runs_on(folder.path()).await;
}
