//! TLS of the server's own.

use std::{fs, net::SocketAddr, sync::Arc};

use rustix::process::Signal;
use serde_json::json;
use ticketwire::domain::account::Role;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    Client, TestServer,
    postgres::TestDatabase,
    process::{self, Process},
    server::{PASSWORD, create_account},
    tls::{Authority, CertificateFiles, HOST, Secure, VALID},
};
use crate::metrics::metric;

/// A server with a certificate, and how a client reaches it.
async fn secure_server(flags: &[(&'static str, &str)]) -> (TestServer, Secure, CertificateFiles) {
    let folder = tempfile::tempdir().unwrap().keep();
    let authority = Authority::new();
    let files = authority.issue(&folder, HOST, VALID);
    let mut all = files.flags();
    all.extend(flags.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let server = TestServer::start_with(&all).await;
    let secure = authority.secure(server.address().parse().unwrap());
    (server, secure, files)
}

/// Creates an account and signs in over TLS.
async fn sign_up(server: &TestServer, secure: &Secure, name: &str) -> Client {
    let email = format!("{}@example.com", name.to_lowercase());
    create_account(&server.database.url, &server.clock, &email, name, Role::Customer).await;
    Client::secure(secure.clone()).sign_in(&email, PASSWORD).await
}

/// Reads a connection to its end.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_websockets_and_event_streams_work_over_tls() {
    let (server, secure, _files) = secure_server(&[]).await;
    let anna = sign_up(&server, &secure, "Anna").await;
    let start = anna.ok("{ eventCursor }", json!({})).await;
    let mut stream = anna.stream_inbox(start["eventCursor"].as_str()).await;
    stream.caught_up().await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", start["eventCursor"].as_str()).await;
    socket.caught_up().await;
    let ticket = anna.create_ticket("over TLS").await;
    assert_eq!(socket.item().await["ticket"]["id"], ticket.id);
    assert_eq!(stream.item().await.0["ticket"]["id"], ticket.id);
    drop((socket, stream));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_tls_is_told_to_use_it() {
    let (server, _secure, _files) = secure_server(&[]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: support.example.com\r\n\r\n").await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(
        answer.ends_with(
            "\r\n\r\nThis port requires TLS: use a URL that starts with https:// or wss://.\n"
        ),
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_speaks_http_1_1_and_refuses_clients_that_only_speak_http_2() {
    let (server, secure, _files) = secure_server(&[]).await;
    let with = |protocols: &[&str]| {
        let mut config = secure.config();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    };
    let stream = secure.connect_with(with(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let refused = secure.connect_with(with(&["h2"])).await.unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    drop(stream);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_must_end_in_time_and_counts_among_the_limits() {
    let flags = [
        ("limits.header_seconds", "1"),
        ("limits.handshakes_per_address", "1"),
        ("admin.listen", "127.0.0.1:0"),
    ];
    let (server, _secure, _files) = secure_server(&flags).await;
    let mut stalled = TcpStream::connect(server.address()).await.unwrap();
    // The beginning of a handshake.
    stalled.write_all(&[22, 3, 1]).await.unwrap();
    let refused = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(rest(refused).await, "");
    assert_eq!(rest(stalled).await, "");
    let (_, metrics) = server.admin("/metrics").await;
    for limit in ["handshakes", "header_time"] {
        let line = format!("ticketwire_refusals_total{{limit=\"{limit}\"}} 1\n");
        assert!(metrics.contains(&line), "{limit}: {metrics}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start_with_what_to_do() {
    let server = TestServer::start().await;
    let authority = Authority::new();
    let folder = |name: &str| {
        let folder = tempfile::tempdir().unwrap().keep().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let good = authority.issue(&folder("good"), HOST, VALID);
    let other = authority.issue(&folder("other"), HOST, VALID);
    let expired = authority.issue(&folder("expired"), HOST, (2020, 2025));
    let early = authority.issue(&folder("early"), HOST, (2090, 2100));
    let foreign = authority.issue(&folder("foreign"), "www.example.org", VALID);
    let missing = folder("missing").join("certificate.pem");
    let mixed = |certificate: &CertificateFiles, key: &CertificateFiles| CertificateFiles {
        certificate: certificate.certificate.clone(),
        key: key.key.clone(),
    };
    let absent = CertificateFiles { certificate: missing.clone(), key: good.key.clone() };
    let swapped = CertificateFiles { certificate: good.key.clone(), key: good.certificate.clone() };
    for (files, expected) in [
        (&expired, "the certificate expired at 2025-01-01 00:00:00 UTC: renew it"),
        (&early, "is not valid before 2090-01-01 00:00:00 UTC"),
        (&early, "check the clock of this machine"),
        (
            &foreign,
            "is not for support.example.com, the host of `links.base_url`, but for www.example.org",
        ),
        (&mixed(&good, &other), "`tls.key_file` is "),
        (&mixed(&good, &other), "is not the key of the certificate in "),
        (&absent, "certificate.pem: the file cannot be read: No such file"),
        (&swapped, "contains no certificate. It must be in PEM form"),
        (
            &mixed(&good, &absent_key(&good)),
            "the file contains no private key. It must be in PEM form",
        ),
    ] {
        let error = server.another_node(&files.flags()).await.err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // The same files, if they fit.
    server.another_node(&good.flags()).await.expect("a server").stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_with_an_issuer_that_is_not_valid_is_refused_at_the_start_with_what_to_do() {
    let server = TestServer::start().await;
    let root = Authority::new();
    let (expired, early) =
        (root.certify("Expired", (2020, 2025)), root.certify("Early", (2090, 2100)));
    for (files, expected) in [
        (
            chain(&expired, &[&expired]),
            "certificate 2 of the file (CN=Expired) expired at 2025-01-01 00:00:00 UTC: replace it",
        ),
        (
            chain(&early, &[&root, &early]),
            "certificate 3 of the file (CN=Early) is not valid before 2090-01-01 00:00:00 UTC",
        ),
    ] {
        let error = server.another_node(&files.flags()).await.err().expect(expected).to_string();
        assert!(error.starts_with("`tls.certificate_file` is "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    server.stop().await;
}

/// A certificate of an issuer, followed by those of these issuers.
fn chain(issuer: &Authority, issuers: &[&Authority]) -> CertificateFiles {
    let folder = tempfile::tempdir().unwrap().keep();
    issuer.issue(&folder, HOST, VALID).with_issuers(issuers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_some_clients_refuse_is_a_warning_at_the_start_and_of_doctor() {
    let database = TestDatabase::new().await;
    let root = Authority::new();
    let (middle, twin) = (root.certify("Middle", VALID), root.certify("Middle", VALID));
    let (inner, expired) = (middle.certify("Inner", VALID), root.certify("Expired", (2020, 2025)));
    let advice = "put the server's own certificate first, then that of its issuer, then that of the \
                  issuer's issuer, and nothing else, as `fullchain.pem` of certbot does";
    let authority_advice = "put a certificate for a server first; to make one of your own, give `openssl req \
                            -x509` the option `-addext basicConstraints=critical,CA:FALSE`";
    for (files, doubts) in [
        (chain(&middle, &[]), vec![]),
        (chain(&inner, &[&inner, &middle]), vec![]),
        (chain(&inner, &[&inner, &middle, &root]), vec![]),
        (
            Authority::as_server(&tempfile::tempdir().unwrap().keep(), HOST),
            vec!["the first certificate is that of an authority (CA:TRUE), not of a server"],
        ),
        (
            chain(&inner, &[&root, &inner, &middle]),
            vec![
                "the certificates are not in order: the server's own and its issuers are certificates \
                 1, 3, 4, 2 of the file",
            ],
        ),
        (
            chain(&middle, &[&expired, &middle, &middle]),
            vec![
                "certificate 2 of the file (CN=Expired) is not that of an issuer of the server's own \
                 certificate",
                "certificate 4 of the file (CN=Middle) is the same as certificate 3",
            ],
        ),
        (
            chain(&middle, &[&root]),
            vec![
                "certificate 2 of the file (CN=Root) is not that of an issuer of the server's own \
                 certificate",
                "the file lacks the certificate of CN=Middle, which has issued the first",
            ],
        ),
        (
            chain(&middle, &[&twin, &middle]),
            vec![
                "certificate 2 of the file (CN=Middle) has the name of the issuer of certificate 1 but \
                 has not signed it",
            ],
        ),
    ] {
        let doubts = doubts.join("; ");
        let advice = if doubts.contains("CA:TRUE") { authority_advice } else { advice };
        let url = [("DATABASE_URL", database.url.as_str())];
        let variables = [&url[..], &files.settings()].concat();
        let log = Process::serve(&variables).await.stop_and_read_log().await;
        let warning = format!(": {doubts}. To do: {advice}");
        assert_eq!(log.contains("some clients may refuse"), !doubts.is_empty(), "{log}");
        assert!(doubts.is_empty() || log.contains(&warning), "{warning}: {log}");
        let doctor = process::run(&["doctor"], &variables, "").await.stdout;
        let line = doctor.lines().skip_while(|line| !line.contains(" certificate: "));
        let report = line.take(2).collect::<Vec<_>>();
        assert_eq!(report[0].starts_with("WARNING"), !doubts.is_empty(), "{doctor}");
        assert!(report[0].ends_with(&doubts), "{doctor}");
        assert!(doubts.is_empty() || report[1].ends_with(advice), "{doctor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_without_tls_to_the_port_of_a_server_with_tls_are_a_warning() {
    let database = TestDatabase::new().await;
    let files = chain(&Authority::new(), &[]);
    let of = |url: &'static str| {
        [
            ("DATABASE_URL", database.url.as_str()),
            ("TICKETWIRE_LISTEN", "127.0.0.1:0"),
            ("TICKETWIRE_LINKS_BASE_URL", url),
        ]
    };
    let wrong = [&of("http://support.example.com:0")[..], &files.settings()].concat();
    let problem = "`links.base_url` begins with http://, and `listen`, which speaks TLS only,";
    let log = Process::serve(&wrong).await.stop_and_read_log().await;
    assert!(log.contains(problem), "{log}");
    let doctor = process::run(&["doctor"], &wrong, "").await.stdout;
    assert!(doctor.contains(&format!("WARNING base url: {problem}")), "{doctor}");
    for right in ["https://support.example.com:0", "http://support.example.com"] {
        let right = [&of(right)[..], &files.settings()].concat();
        let log = Process::serve(&right).await.stop_and_read_log().await;
        assert!(!log.contains(problem), "{log}");
    }
}

/// A certificate in the place of a key.
fn absent_key(files: &CertificateFiles) -> CertificateFiles {
    CertificateFiles { certificate: files.certificate.clone(), key: files.certificate.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_at_once_and_open_connections_continue() {
    let database = TestDatabase::new().await;
    let clock = Arc::default();
    create_account(&database.url, &clock, "anna@example.com", "Anna", Role::Customer).await;
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.issue(folder.path(), HOST, VALID);
    let own = [("DATABASE_URL", database.url.as_str())];
    let process = Process::serve(&[&own[..], &files.settings()].concat()).await;
    assert!(process.welcome.contains("  Websocket    wss://"), "{}", process.welcome);
    let address = process.address.parse::<SocketAddr>().unwrap();
    let anna = Client::secure(old.secure(address)).sign_in("anna@example.com", PASSWORD).await;
    let start = anna.ok("{ eventCursor }", json!({})).await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", start["eventCursor"].as_str()).await;
    socket.caught_up().await;

    // A certificate that cannot be used changes nothing.
    let good = fs::read(&files.certificate).unwrap();
    fs::write(&files.certificate, "nothing").unwrap();
    process.signal(Signal::HUP);
    assert!(old.secure(address).connect().await.is_ok());
    fs::write(&files.certificate, good).unwrap();

    new.issue(folder.path(), HOST, VALID);
    process.signal(Signal::HUP);
    while new.secure(address).connect().await.is_err() {}
    assert!(old.secure(address).connect().await.is_err());
    let mut renewed = Client::secure(new.secure(address));
    renewed.token.clone_from(&anna.token);
    let ticket = renewed.create_ticket("after the renewal").await;
    assert_eq!(socket.item().await["ticket"]["id"], ticket.id);
    let log = process.stop_and_read_log().await;
    assert!(log.contains("uses a new certificate"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_when_the_first_certificate_of_the_chain_expires() {
    let folder = tempfile::tempdir().unwrap();
    let middle = Authority::new().certify("Middle", (2020, 2099));
    let files = middle.issue(folder.path(), HOST, VALID).with_issuers(&[&middle]);
    let mut flags = files.flags();
    flags.push(("admin.listen", "127.0.0.1:0".to_owned()));
    let server = TestServer::start_with(&flags).await;
    // The first of January 2099.
    let expires = metric(&server, "ticketwire_certificate_expires_seconds").await;
    assert_eq!(expires, Some(4_070_908_800.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_when_the_certificate_expires() {
    let (server, _secure, _files) = secure_server(&[("admin.listen", "127.0.0.1:0")]).await;
    // The first of January 2100.
    let expires = metric(&server, "ticketwire_certificate_expires_seconds").await;
    assert_eq!(expires, Some(4_102_444_800.0));
    let failures = metric(&server, "ticketwire_certificate_reload_failures_total").await;
    assert_eq!(failures, Some(0.0));
    server.stop().await;
}
