//! A server that cannot start says what to do, and has changed nothing.

use std::{
    fs,
    os::unix::fs::{chown, lchown, symlink},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    time,
};

use crate::harness::{postgres::TestDatabase, process, server::SEALING_KEYS};

/// The time within which a server must say something or end.
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_reported_before_the_database_is_changed() {
    let database = TestDatabase::empty().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variable in ["TICKETWIRE_LISTEN", "TICKETWIRE_ADMIN_LISTEN"] {
        let mut variables =
            vec![("DATABASE_URL", database.url.as_str()), (variable, address.as_str())];
        if variable != "TICKETWIRE_LISTEN" {
            variables.push(("TICKETWIRE_LISTEN", "127.0.0.1:0"));
        }
        let output = process::run(&["serve"], &variables, "").await;
        assert!(!output.success);
        let text = format!("cannot listen on {address}: Address already in use");
        let text = if variable == "TICKETWIRE_LISTEN" { text } else { "`admin.listen` is".into() };
        assert!(output.stderr.contains(&text), "{}", output.stderr);
        assert!(
            output.stderr.contains("Another program uses the port: stop it"),
            "{}",
            output.stderr
        );
        assert_eq!(tables(&database).await, 0, "nothing half-done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_reported_before_the_embedded_database_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let variables =
        [("TICKETWIRE_DATA_DIR", data.to_str().unwrap()), ("TICKETWIRE_LISTEN", &address)];
    let output = process::run(&["serve"], &variables, "").await;
    assert!(!output.success && output.stderr.contains("cannot listen on"), "{}", output.stderr);
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_runs_although_its_greeting_cannot_be_written() {
    let database = TestDatabase::new().await;
    let variables = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = process::command(&variables).arg("serve").stdout(full).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut log = String::new();
    while !log.contains("the greeting could not be written") {
        let line = time::timeout(MINUTE, lines.next_line()).await.expect("a line in time");
        log += &line.unwrap().unwrap_or_else(|| panic!("it ended: {log}"));
    }
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let pid = Pid::from_raw(server.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = time::timeout(MINUTE, server.wait()).await.expect("an end in time");
    assert!(ended.unwrap().success());
    rest.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_a_part_of_the_server_refuses_changes_nothing_and_is_exit_status_2() {
    let database = TestDatabase::empty().await;
    let templates = tempfile::tempdir().unwrap();
    fs::create_dir(templates.path().join("code")).unwrap();
    fs::write(templates.path().join("code/text.en.txt"), "{% if %}").unwrap();
    let templates = templates.path().to_str().unwrap();
    for (variable, value, problem) in [
        ("TICKETWIRE_SECURITY_SEALING_KEYS", "short", "`security.sealing_keys`"),
        ("TICKETWIRE_ALLOWED_ORIGINS", "not an origin", "`allowed_origins`"),
        ("TICKETWIRE_TICKETS_PREFIX", "!", "`tickets.prefix`"),
        ("TICKETWIRE_MAIL_SMTP_URL", "http://mail.example.com", "`mail.smtp_url`"),
        ("TICKETWIRE_MAIL_FROM", "nobody", "`mail.from`"),
        ("TICKETWIRE_MAIL_STAFF_ADDRESSES", "sales", "`mail.staff_addresses`"),
        ("TICKETWIRE_LOG_FILTER", "a=b=c", "`log.filter`"),
        ("TICKETWIRE_LOG_FILTER", "inof", "`log.filter` has `inof`"),
        ("TICKETWIRE_STORAGE_FOLDER", "", "`storage.folder`"),
        ("TICKETWIRE_TRACING_OTLP_ENDPOINT", "http://", "`tracing.otlp_endpoint`"),
        ("DATABASE_URL", "mysql://localhost/desk", "`database.url`"),
        ("DATABASE_URL", "", "`database.url`"),
        ("DATABASE_URL", "postgres://localhost/desk\n", "`database.url` must not begin or end"),
        ("DATABASE_URL", "postgres://localhost/desk?sslmode=verify-full", "`sslmode=require`"),
        ("TICKETWIRE_MAIL_TEMPLATES_DIR", templates, "`mail.templates_dir`"),
    ] {
        let key = "k".repeat(32);
        let mut variables = vec![
            ("DATABASE_URL", database.url.as_str()),
            ("TICKETWIRE_LISTEN", "127.0.0.1:0"),
            ("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS),
            ("TICKETWIRE_MAIL_SMTP_URL", "smtp://127.0.0.1:1"),
            ("TICKETWIRE_MAIL_FROM", "desk@example.com"),
            ("TICKETWIRE_MAIL_SIGNING_KEY", &key),
            ("TICKETWIRE_LINKS_BASE_URL", "https://support.example.com"),
        ];
        variables.push((variable, value));
        // What a template may contain, only a part of the server knows.
        let commands: &[&str] = if value == templates { &["serve"] } else { &["serve", "doctor"] };
        for command in commands {
            let ended = process::command(&variables).arg(command).output();
            let output = time::timeout(Duration::from_mins(1), ended).await.expect(variable);
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains(problem), "{command} {variable}: {text}");
            assert_eq!(output.status.code(), Some(2), "{command} {variable}: {text}");
        }
        assert_eq!(tables(&database).await, 0, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_a_newer_version_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticketwire.toml");
    fs::write(&file, "[mail]\nfrom = \"a@example.com\"\nquantum = true\n").unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "serve"];
    let output = process::run(&arguments, &[], "").await;
    assert!(!output.success);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "unknown key `mail.quantum` in {}. `ticketwire config reference` lists all keys of version \
         {version}: correct the key or remove it, or install the version that it was written for",
        file.display()
    );
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
}

/// A server that gives every client the same answer, and then closes the connection.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            // The first message of a client of Postgres is shorter.
            let _ = client.read(&mut [0; 1024]).await;
            let _ = client.write_all(answer).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_named_with_its_place_and_the_remedy() {
    let web = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let plain = answering(b"N").await;
    let closed = "127.0.0.1:1".to_owned();
    let start = "(if it is a Postgres of your own, start it there, or correct `database.url`)";
    for (place, parameters, remedy) in [
        (&closed, "", start),
        (&web, "", start),
        (&plain, "?sslmode=require", "correct `sslmode` in `database.url`)"),
    ] {
        let url = format!("postgres://somebody:secret@{place}/desk{parameters}");
        let variables = [("DATABASE_URL", url.as_str()), ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
        for command in ["serve", "migrate"] {
            let output = process::run(&[command], &variables, "").await;
            let said = output.stderr;
            let is_named = said.contains(&format!("at {place} (")) && said.contains(remedy);
            assert!(!output.success && is_named, "{place}: {said}");
            assert!(!said.contains("somebody") && !said.contains("secret"), "{said}");
        }
    }
    let two = "postgres://somebody:secret@127.0.0.1:1,127.0.0.1:2/desk";
    let said = process::run(&["migrate"], &[("DATABASE_URL", two)], "").await.stderr;
    assert!(said.contains("at 127.0.0.1:1, 127.0.0.1:2 ("), "{said}");
    // The driver would take what follows the first `@` for the host.
    for password in ["p@ssecret", "p@ss/secret", "p%40@secret"] {
        let url = format!("postgres://somebody:{password}@127.0.0.1:1/desk");
        let said = process::run(&["migrate"], &[("DATABASE_URL", url.as_str())], "").await.stderr;
        assert!(said.contains("percent-encode special characters of the password"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_created_is_reported_before_the_database_is_changed() {
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let data_dir = file.join("data");
    let variables = [
        ("DATABASE_URL", database.url.as_str()),
        ("TICKETWIRE_DATA_DIR", data_dir.to_str().unwrap()),
    ];
    let output = process::run(&["serve"], &variables, "").await;
    assert!(!output.success);
    let expected = format!(
        "`data_dir` cannot be used: {0}/erasures: Not a directory (os error 20). Create the folder with \
         the user of the server as its owner, or set another. Under systemd, also allow it: \
         ReadWritePaths={0}/erasures",
        data_dir.display()
    );
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    assert_eq!(tables(&database).await, 0, "nothing half-done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_of_another_user_is_used_only_if_it_is_named() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    let other = Some(12345);
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().canonicalize().unwrap().join("ticketwire.toml");
    let doctor = async |arguments: &[&str]| {
        let mut command = process::command(&[("DATABASE_URL", database.url.as_str())]);
        let command = command.current_dir(folder.path()).arg("doctor").args(arguments);
        let ended = time::timeout(Duration::from_mins(1), command.output());
        let output = ended.await.expect("an end in time").unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        (output.status.code(), format!("{out}{err}"))
    };
    let read = format!("ok      settings: from {} and the environment\n", file.display());
    fs::write(&file, "[log]\nformat = \"json\"\n").unwrap();
    assert!(doctor(&[]).await.1.contains(&read));

    chown(&file, other, None).unwrap();
    let (code, text) = doctor(&[]).await;
    assert_eq!(code, Some(2), "{text}");
    for words in ["another user, with the id 12345", "`--config ticketwire.toml`"] {
        assert!(text.contains(words), "no `{words}`: {text}");
    }
    let named = doctor(&["--config", "ticketwire.toml"]).await.1;
    assert!(named.contains("settings: from ticketwire.toml and the environment"), "{named}");

    // A link of another user to a file of root's.
    let elsewhere = folder.path().join("elsewhere.toml");
    fs::rename(&file, &elsewhere).unwrap();
    chown(&elsewhere, Some(0), None).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(doctor(&[]).await.1.contains(&read));
    lchown(&file, other, None).unwrap();
    assert_eq!(doctor(&[]).await.0, Some(2));

    fs::remove_file(&file).unwrap();
    let text = doctor(&[]).await.1;
    assert!(text.contains("ok      settings: from the environment and the defaults"), "{text}");
}

/// Returns the number of tables and their indexes.
async fn tables(database: &TestDatabase) -> i64 {
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    database.connect().await.query_one(tables, &[]).await.unwrap().get(0)
}
