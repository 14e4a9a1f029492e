//! Attachments: uploading them, who may download them, and the deletion of unused files.

use std::{fs, path::Path, time::Duration};

use chrono::TimeDelta;
use futures_util::future::{join_all, select_all};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ticketwire::domain::{
    account::Role,
    clock::{Clock as _, SystemClock},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    Client, TestServer,
    client::{Reply, TECHNICAL_SUPPORT},
    process::Process,
    server::PASSWORD,
    socket::connect_with_buffer,
};

/// Opens a ticket with an input.
pub const CREATE: &str = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
    ticket { id number status version attachments { id name size contentType sha256 url } }
    userErrors { field code message } } }";
/// Adds a comment with an input.
pub const COMMENT: &str = "mutation($input: AddCommentInput!) { addComment(input: $input) {
    comment { id attachments { id name size contentType url } } userErrors { code } } }";
pub const BOUNDARY: &str = "a-boundary-of-the-tests";

/// The names and the bytes of files.
type Files<'f> = &'f [(&'f str, &'f [u8])];
/// A part: its name, its file's name and its bytes.
pub type Part<'p> = (&'p str, Option<&'p str>, &'p [u8]);

pub fn body(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Sends a multipart request.
pub async fn send(client: &Client, parts: &[Part<'_>]) -> Reply {
    client.post(&format!("multipart/form-data; boundary={BOUNDARY}"), body(parts)).await
}

/// Sends a mutation with files, as clients of the multipart specification do.
pub async fn upload(
    client: &Client,
    document: &str,
    mut input: Value,
    files: &[(&str, &[u8])],
) -> Reply {
    input["attachments"] = json!(vec![Value::Null; files.len()]);
    let operations = json!({ "query": document, "variables": { "input": input } }).to_string();
    let names = (0..files.len()).map(|n| n.to_string()).collect::<Vec<_>>();
    let map =
        names.iter().map(|n| (n.clone(), json!([format!("variables.input.attachments.{n}")])));
    let map = Value::Object(map.collect()).to_string();
    let mut parts: Vec<Part<'_>> =
        vec![("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())];
    parts.extend(
        names.iter().zip(files).map(|(n, (name, bytes))| (n.as_str(), Some(*name), *bytes)),
    );
    send(client, &parts).await
}

/// The input of a ticket.
pub fn ticket() -> Value {
    json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "A file", "description": "See there." })
}

async fn fetch(client: &Client, url: &str, headers: &[(&str, &str)]) -> Reply {
    client
        .request(Method::GET, url, |mut request| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        })
        .await
}

/// The number of stored files that fulfil a condition.
pub async fn count(server: &TestServer, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM attachments WHERE {condition}");
    server.database.connect().await.query_one(&query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_with_a_ticket_and_downloaded_by_their_links() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let files: [(&str, &[u8]); 2] =
        [("log.txt", b"0123456789"), ("../../\u{202E}gnp.html", b"\x89PNG\r\n\x1a\n....")];
    let reply = upload(&anna, CREATE, ticket(), &files).await;
    let found = reply.at("/data/createTicket/ticket/attachments");
    assert_eq!(found[0]["name"], "log.txt", "{}", reply.body);
    assert_eq!(found[0]["size"], 10.0);
    assert_eq!(found[0]["contentType"], "text/plain");
    let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    assert_eq!(found[0]["sha256"], sha256);
    assert_eq!(found[1]["name"], "gnp.html");
    assert_eq!(found[1]["contentType"], "image/png");

    let url = found[0]["url"].as_str().unwrap();
    let stranger = server.anonymous();
    let whole = fetch(&stranger, url, &[]).await;
    assert_eq!((whole.status, &whole.body), (StatusCode::OK, &json!("0123456789")));
    let header = |name: &str| whole.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-length"), "10");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"log.txt\"; filename*=UTF-8''log.txt"
    );
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let tag = header("etag");
    let part = fetch(&stranger, url, &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, &part.body), (StatusCode::PARTIAL_CONTENT, &json!(234)));
    assert_eq!(part.headers["content-range"], "bytes 2-4/10");
    assert_eq!(fetch(&stranger, url, &[("range", "bytes=10-")]).await.status, 416);
    assert_eq!(fetch(&stranger, url, &[("if-none-match", &tag)]).await.status, 304);
    let stale = [("range", "bytes=2-4"), ("if-range", "\"other\"")];
    assert_eq!(fetch(&stranger, url, &stale).await.status, 200);
    for range in ["", "bytes=2-4", "bytes=99-"] {
        let head = stranger.request(Method::HEAD, url, |it| it.header("range", range)).await;
        assert_eq!(
            (head.status, &head.headers["content-length"]),
            (StatusCode::OK, &"10".parse().unwrap()),
            "{range}"
        );
    }

    for altered in [format!("{url}x"), url.replacen('.', "A.", 1), "/attachments/x".into()] {
        assert_eq!(fetch(&stranger, &altered, &[]).await.status, 404, "{altered}");
    }
    let id = json!({ "id": found[0]["id"] });
    let seen =
        marta.ok("query($id: ID!) { node(id: $id) { ... on Attachment { url } } }", id).await;
    let staff_url = seen["node"]["url"].as_str().unwrap();
    assert_eq!(fetch(&stranger, staff_url, &[]).await.status, 200);
    marta.ok("mutation { signOut { signedOut } }", json!({})).await;
    assert_eq!(fetch(&stranger, staff_url, &[]).await.status, 403);
    server.clock.advance(TimeDelta::minutes(11));
    assert_eq!(fetch(&stranger, url, &[]).await.status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_see_a_file_on_an_internal_note() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let opened = anna.create_ticket("one").await;
    let input = json!({ "ticketId": opened.id, "body": "Look", "visibility": "INTERNAL" });
    let reply = upload(&marta, COMMENT, input, &[("secret.txt", b"secret")]).await;
    let found = reply.at("/data/addComment/comment/attachments/0");
    assert_eq!(found["name"], "secret.txt", "{}", reply.body);
    let node = "query($id: ID!) { node(id: $id) { ... on Attachment { name } } }";
    let reply = anna.send(node, json!({ "id": found["id"] })).await;
    assert_eq!(reply.code(), "NOT_FOUND");
    let url = found["url"].as_str().unwrap();
    assert_eq!(fetch(&server.anonymous(), url, &[]).await.body, "secret");
    // The link stops working when its creator leaves the staff.
    let database = server.database.connect().await;
    database
        .execute("UPDATE accounts SET role = 'customer' WHERE name = 'Marta'", &[])
        .await
        .unwrap();
    assert_eq!(fetch(&server.anonymous(), url, &[]).await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_too_large_or_surplus_file_is_a_user_error_and_attaches_nothing() {
    let limits = [
        ("attachments.max_file_bytes", "100".to_owned()),
        ("attachments.max_total_bytes", "150".to_owned()),
        ("attachments.max_files", "3".to_owned()),
    ];
    let server = TestServer::start_with(&limits).await;
    let query = "{ fileLimits { maxFileBytes maxFiles maxTotalBytes } }";
    let limits = server.anonymous().ok(query, json!({})).await["fileLimits"].clone();
    assert_eq!(limits, json!({ "maxFileBytes": 100.0, "maxFiles": 3, "maxTotalBytes": 150.0 }));
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let cases: [(Files<'_>, &str); 4] = [
        (&[("a", b"a"), ("empty.txt", b"")], "REQUIRED"),
        (&[("large.txt", &[b'a'; 101])], "TOO_LARGE"),
        (&[("a", &[b'a'; 80]), ("b", &[b'a'; 80])], "TOO_LARGE"),
        (&[("a", b"a"), ("b", b"b"), ("c", b"c"), ("d", b"d")], "TOO_MANY"),
    ];
    for (files, code) in cases {
        let reply = upload(&anna, CREATE, ticket(), files).await;
        assert_eq!(reply.user_errors("createTicket"), [code], "{}", reply.body);
    }
    let many = vec![("x", &b"x"[..]); 1_000];
    let reply = upload(&anna, CREATE, ticket(), &many).await;
    assert_eq!(reply.user_errors("createTicket"), ["TOO_MANY"], "{}", reply.body);
    assert_eq!(server.content().await, before);
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_upload_request_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut input = ticket();
    input["attachments"] = json!([null]);
    let good = json!({ "query": CREATE, "variables": { "input": input } }).to_string();
    let query =
        json!({ "query": "query($f: ID) { node(id: $f) { id } }", "variables": { "f": null } });
    let query = query.to_string();
    let map = |path: &str| json!({ "0": [path] }).to_string();
    let right = map("variables.input.attachments.0");
    let before = server.content().await;
    let many = json!({ "0": vec!["variables.input.attachments.0"; 2_000] }).to_string();
    let far = map("variables.input.attachments.999999999");
    let (unknown, set, outside) =
        (map("variables.nothing"), map("variables.input.summary"), map("query"));
    let batch = format!("[{good}]");
    let file: Part<'_> = ("0", Some("a.txt"), b"a");
    let cases: Vec<(&str, &str, Vec<Part<'_>>)> = vec![
        (&good, &far, vec![file]),
        (&good, &unknown, vec![file]),
        (&good, &set, vec![file]),
        (&good, &outside, vec![file]),
        (&good, &many, vec![file]),
        (&good, "{}", vec![file]),
        (&good, "null", vec![file]),
        (&good, "[1]", vec![file]),
        ("null", &right, vec![file]),
        ("{}", &right, vec![file]),
        (&batch, &right, vec![file]),
        (&query, "{\"0\": [\"variables.f\"]}", vec![file]),
        (&good, &right, vec![]),
        (&good, &right, vec![file, ("1", Some("b.txt"), b"b")]),
        (&good, &right, vec![file, file]),
    ];
    for (operations, map, files) in cases {
        let mut parts: Vec<Part<'_>> =
            vec![("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())];
        parts.extend(files);
        let reply = send(&anna, &parts).await;
        assert_eq!(
            (reply.status, reply.code()),
            (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            "{map:.60}"
        );
    }
    let parts: [Part<'_>; 1] = [("map", None, right.as_bytes())];
    assert_eq!(send(&anna, &parts).await.code(), "BAD_REQUEST");
    let typed = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"operations\"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{good}\r\n--{BOUNDARY}--\r\n"
    );
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    assert_eq!(anna.post(&media, typed).await.code(), "BAD_REQUEST");
    assert_eq!(anna.post("multipart/form-data", "x").await.code(), "BAD_REQUEST");
    // A body that ends in the middle of a file.
    let parts: [Part<'_>; 3] =
        [("operations", None, good.as_bytes()), ("map", None, right.as_bytes()), file];
    let half = body(&parts);
    let half = half[..half.len() - BOUNDARY.len() - 8].to_vec();
    assert_eq!(anna.post(&media, half).await.code(), "BAD_REQUEST");
    // Without a session, and first without the header that forces a preflight.
    let anonymous = server.anonymous();
    assert_eq!(send(&anonymous, &parts).await.code(), "BAD_REQUEST");
    let reply = anonymous
        .request(Method::POST, "/graphql", |request| {
            request
                .header("content-type", &media)
                .header("apollo-require-preflight", "1")
                .body(body(&parts))
        })
        .await;
    assert_eq!((reply.status, reply.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"));
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
    // An `Upload` value must refer to a file of the request.
    let mut input = ticket();
    for made_up in
        [json!(["upload:00000000-0000-0000-0000-000000000000"]), json!(["x"]), json!([null])]
    {
        input["attachments"] = made_up;
        assert_eq!(anna.send(CREATE, json!({ "input": input })).await.code(), "BAD_REQUEST");
    }
    assert_eq!(server.content().await, before);
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_returns_the_same_ticket_and_its_second_files_are_deleted() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut input = ticket();
    input["idempotencyKey"] = json!("key");
    let first = upload(&anna, CREATE, input.clone(), &[("a.txt", b"first")]).await;
    let again = upload(&anna, CREATE, input.clone(), &[("a.txt", b"first")]).await;
    let path = "/data/createTicket/ticket/number";
    assert_eq!(first.at(path), again.at(path), "{}", again.body);
    for other in [("a.txt", &b"other"[..]), ("b.txt", b"first")] {
        let reply = upload(&anna, CREATE, input.clone(), &[other]).await;
        assert_eq!(reply.user_errors("createTicket"), ["IDEMPOTENCY_KEY_REUSED"]);
    }
    let database = server.database.connect().await;
    let rows = database.query("SELECT id::text FROM attachments", &[]).await.unwrap();
    assert_eq!(rows.len(), 1, "only the ticket's file remains");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attachments");
    assert!(folder.join(rows[0].get::<_, String>(0)).exists());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_storage_folder_is_an_error_and_creates_no_ticket() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a-file-and-no-folder");
    fs::write(&file, "").unwrap();
    let folder = [("storage.folder", file.join("x").to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&folder).await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let reply = upload(&anna, CREATE, ticket(), &[("a.txt", b"a")]).await;
    assert_eq!((reply.status, reply.code()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    assert_eq!(reply.headers["retry-after"], "5");
    assert!(reply.body.to_string().contains("nothing was saved"), "{}", reply.body);
    assert!(!reply.body.to_string().contains("a-file-and-no-folder"));
    assert_eq!(server.content().await, before);
    server.stop().await;
}

/// An upload of a ticket with one file whose last bytes have not been sent.
struct SlowUpload {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl SlowUpload {
    /// Sends all but the end of the file.
    async fn begin(address: &str, client: &Client, file: &[u8]) -> Self {
        let mut input = ticket();
        input["attachments"] = json!([null]);
        let operations = json!({ "query": CREATE, "variables": { "input": input } }).to_string();
        let map = json!({ "0": ["variables.input.attachments.0"] }).to_string();
        let body = body(&[
            ("operations", None, operations.as_bytes()),
            ("map", None, map.as_bytes()),
            ("0", Some("slow.bin"), file),
        ]);
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            client.token.as_deref().unwrap(),
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (first, rest) = body.split_at(body.len() - 1_000);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(first).await.unwrap();
        Self { stream, rest: rest.to_vec() }
    }

    /// Sends the rest; returns the response.
    async fn end(mut self) -> String {
        self.stream.write_all(&self.rest).await.unwrap();
        self.answer().await
    }

    /// Waits for the response.
    async fn answer(mut self) -> String {
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Returns an empty folder for a test's files.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    folder
}

/// Counts the files in a folder and its subfolders.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let entries = entries.map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_no_file_and_no_ticket() {
    let folder = folder("broken-off");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    // Larger than what the server passes to the storage at once, so that a part of it is already
    // stored.
    let slow = SlowUpload::begin(&server.address(), &anna, &vec![b'x'; 6 << 20]).await;
    while files(&folder) == 0 {}
    drop(slow);
    while files(&folder) > 0 {}
    while count(&server, "true").await > 0 {}
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_is_refused() {
    let folder = folder("stalled");
    let flags = [
        ("storage.folder", folder.to_str().unwrap().to_owned()),
        ("limits.body_window_seconds", "2".to_owned()),
    ];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let slow = SlowUpload::begin(&server.address(), &anna, &vec![b'x'; 6 << 20]).await;
    let answer = slow.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("stalled"), "{answer}");
    while files(&folder) > 0 {}
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_upload_that_a_crash_interrupted_are_deleted_after_a_day() {
    let folder = folder("crashed");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let mut server = TestServer::start_with(&flags).await;
    server.customer("Anna").await;
    let variables = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_STORAGE_FOLDER", folder.to_str().unwrap()),
    ];
    let process = Process::serve(&variables).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let before = server.content().await;
    let slow = SlowUpload::begin(&process.address, &anna, &vec![b'x'; 6 << 20]).await;
    while files(&folder) == 0 {}
    process.kill().await;
    drop(slow);
    assert_eq!((files(&folder), count(&server, "size IS NULL").await), (1, 1));
    assert_eq!(server.content().await, before);
    // The killed server used the real clock; the next one uses the clock of the test.
    server.clock.advance(SystemClock.now() - server.clock.now() + TimeDelta::hours(25));
    server.restart_with(&flags).await;
    while count(&server, "true").await > 0 {}
    assert_eq!(files(&folder), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_during_its_upload_is_not_attached() {
    let folder = folder("too-long");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let slow = SlowUpload::begin(&server.address(), &anna, &[b'x'; 2_000]).await;
    while count(&server, "true").await == 0 {}
    // Another node begins to delete it.
    let database = server.database.connect().await;
    database.execute("UPDATE attachments SET condemned_at = created_at", &[]).await.unwrap();
    let answer = slow.end().await;
    assert!(answer.contains("EXPIRED"), "{answer}");
    assert_eq!(server.content().await, before);
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploading_and_downloading_the_largest_files_takes_little_memory() {
    const LARGEST: usize = 25 << 20;
    let folder = folder("large");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    server.sign_up("Anna", Role::Customer).await;
    let variables = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_STORAGE_FOLDER", folder.to_str().unwrap()),
    ];
    let process = Process::serve(&variables).await;
    let anna = Client::new(&process.address, None);
    let anna = anna.sign_in("anna@example.com", PASSWORD).await;
    let peak_memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    upload(&anna, CREATE, ticket(), &[("small", b"x")]).await;
    let before = peak_memory();
    let large = vec![b'x'; LARGEST];
    let files = [("a", &large[..]), ("b", &large), ("c", &large), ("d", &large)];
    let reply = upload(&anna, CREATE, ticket(), &files).await;
    let found = reply.at("/data/createTicket/ticket/attachments");
    assert_eq!(found[3]["size"], 26_214_400.0, "{}", reply.body);
    let url = found[0]["url"].as_str().unwrap();
    let fetched = fetch(&anna, url, &[]).await;
    assert_eq!(fetched.headers["content-length"], LARGEST.to_string());
    let grown = peak_memory() - before;
    assert!(grown < 64 << 10, "{grown} KiB more");
    process.kill().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_downloads_a_limited_number_of_files_at_the_same_time() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let large = vec![b'x'; 20 << 20];
    let reply = upload(&anna, CREATE, ticket(), &[("large", &large)]).await;
    let url = reply.at("/data/createTicket/ticket/attachments/0/url").as_str().unwrap().to_owned();
    let path = &url[url.find("/attachments/").unwrap()..];
    let begin = async || {
        let mut stream = connect_with_buffer(&server.address(), 64 * 1024).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: desk\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let mut open = Vec::new();
    for _ in 0..100 {
        let (stream, status) = begin().await;
        assert_eq!(status, "HTTP/1.1 200");
        open.push(stream);
    }
    assert_eq!(begin().await.1, "HTTP/1.1 429");
    assert_eq!(begin().await.1, "HTTP/1.1 429", "what is refused takes no slot");
    drop(open);
    let again = async { while begin().await.1 != "HTTP/1.1 200" {} };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("slots that are free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_an_account_are_limited_apart_from_its_requests() {
    let server = TestServer::start_with(&[("limits.staff_requests", "3".to_owned())]).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let reply = upload(&anna, CREATE, ticket(), &[("log.txt", b"0123456789")]).await;
    let url = reply.at("/data/createTicket/ticket/attachments/0/url").as_str().unwrap().to_owned();
    let mut other = server.database.connect().await;
    let holder = other.transaction().await.unwrap();
    holder.execute("LOCK TABLE attachments", &[]).await.unwrap();
    let head = || Box::pin(anna.request(Method::HEAD, &url, |request| request));
    let (refused, _, waiting) = select_all([head(), head(), head(), head()]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    for other in [&anna, &marta] {
        assert!(other.send("{ viewer { id } }", json!({})).await.at("/errors").is_null());
    }
    holder.commit().await.unwrap();
    for followed in join_all(waiting).await {
        assert_eq!(followed.status, StatusCode::OK);
    }
    other.batch_execute("ALTER TABLE attachments RENAME TO away").await.unwrap();
    let failed = head().await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failed.headers["retry-after"], "5");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_accepted_in_multipart_posts_only() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut input = ticket();
    input["attachments"] = json!([null]);
    let mut socket = anna.socket().await;
    socket.subscribe("1", CREATE, json!({ "input": input })).await;
    let refused = socket.message().await;
    assert_eq!(refused["type"], "error", "{refused}");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{refused}");
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    for method in [Method::GET, Method::PUT] {
        let request = anna.request(method, "/graphql", |request| {
            request.header("content-type", &media).body(body(&[("operations", None, b"{}")]))
        });
        assert!(request.await.status.is_client_error());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_with_hostile_names_or_contents_are_harmless() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let long = "н".repeat(2_048) + ".txt";
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let page = b"<!DOCTYPE html><script>alert(1)</script>";
    let reply = upload(&anna, CREATE, ticket(), &[("a\0b.txt", b"x")]).await;
    assert_eq!(reply.code(), "BAD_REQUEST", "no header has a NUL");
    let cases: [(&str, &[u8]); 4] =
        [(&long, b"x"), ("..\\..\\etc/passwd", b"x"), ("drawing.svg", svg), ("picture.png", page)];
    for (name, bytes) in cases {
        let reply = upload(&anna, CREATE, ticket(), &[(name, bytes)]).await;
        let found = reply.at("/data/createTicket/ticket/attachments/0");
        let stored = found["name"].as_str().unwrap_or_else(|| panic!("{name:?}: {}", reply.body));
        assert!((1..=255).contains(&stored.chars().count()), "{stored:?}");
        assert!(!stored.contains(['/', '\\', '\0']), "{stored:?}");
        let fetched = fetch(&server.anonymous(), found["url"].as_str().unwrap(), &[]).await;
        let header = |name: &str| fetched.headers[name].to_str().unwrap().to_owned();
        assert_eq!(fetched.status, StatusCode::OK, "{name:?}");
        assert!(header("content-disposition").starts_with("attachment; "));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
        assert_ne!(header("content-type"), "image/png");
    }
    server.stop().await;
}
