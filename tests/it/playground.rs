//! The playground: its page and files, its operations in order, and the whole tour in a browser.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ticketwire::domain::clock::{Clock as _, SystemClock};
use totp_rs::Totp;

use crate::harness::{
    Client, TestServer, browser::Script, demo::Demo, postgres::TestDatabase, process::Process,
};

const CUSTOMER: &str = "customer@demo.example";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_field_argument_and_value_of_the_schema_has_a_description() {
    let server = TestServer::start().await;
    let query = "{ __schema { types {
        name kind description
        fields(includeDeprecated: true) { name description args { name description } }
        inputFields { name description }
        enumValues(includeDeprecated: true) { name description }
    } } }";
    let data = server.anonymous().ok(query, json!({})).await;
    let mut missing = Vec::new();
    let mut seen = 0;
    let mut check = |path: String, item: &Value| {
        seen += 1;
        if item["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            missing.push(path);
        }
    };
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    for ty in items(&data["__schema"]["types"]) {
        if name(ty).starts_with("__") {
            continue;
        }
        check(name(ty), ty);
        for members in ["fields", "inputFields", "enumValues"] {
            for member in items(&ty[members]) {
                let path = format!("{}.{}", name(ty), name(member));
                check(path.clone(), member);
                for argument in items(&member["args"]) {
                    check(format!("{path}({})", name(argument)), argument);
                }
            }
        }
    }
    assert_eq!(missing, [] as [String; 0], "no description");
    assert!(seen > 200, "only {seen} parts were checked");
    server.stop().await;
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_playground_loads_nothing_from_other_origins() {
    let database = TestDatabase::new().await;
    let process = Process::serve(&[("DATABASE_URL", &database.url)]).await;
    assert!(
        process.welcome.contains(&format!("Playground   http://{}/playground", process.address))
    );
    let client = Client::new(&process.address, None);
    let page = get(&client, "/playground").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'));
    let html = page.body.as_str().unwrap().to_owned();
    let links = html.split(['"']).filter(|part| part.starts_with("playground/"));
    let mut loaded = 0;
    for link in links {
        let file = get(&client, &format!("/{link}")).await;
        assert_eq!(file.status, StatusCode::OK, "{link}");
        assert_eq!(file.headers["x-content-type-options"], "nosniff");
        loaded += 1;
    }
    assert_eq!(loaded, 8, "{html}");
    // A server with its own database has no demo accounts.
    assert_eq!(get(&client, "/playground/setup.json").await.body["demo"], Value::Null);
    assert_eq!(get(&client, "/playground/nothing.js").await.status, 404);
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_switches_the_playground_off() {
    let database = TestDatabase::new().await;
    let off = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_PLAYGROUND", "false")];
    let process = Process::serve(&off).await;
    assert!(!process.welcome.contains("Playground"), "{}", process.welcome);
    let client = Client::new(&process.address, None);
    for path in ["/playground", "/playground/main.js", "/playground/setup.json"] {
        let answer = get(&client, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.as_str().unwrap().contains("/graphql"), "{path}");
    }
    process.kill().await;
}

async fn get(client: &Client, path: &str) -> crate::harness::Reply {
    client.request(Method::GET, path, |request| request).await
}

/// An operation of the tour, as its files contain it.
struct Operation {
    name: String,
    query: String,
    variables: Value,
}

fn operations() -> Vec<Operation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("playground/operations");
    let mut paths =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "graphql"));
    paths.sort();
    let read = |path: &Path| Operation {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        query: fs::read_to_string(path).unwrap(),
        variables: serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    paths.iter().map(|path| read(path)).collect()
}

#[test]
fn every_operation_of_the_tour_starts_with_two_lines_of_explanation() {
    for Operation { name, query, .. } in operations() {
        let comments = query.lines().take_while(|line| line.starts_with("# ")).count();
        assert_eq!(comments, 2, "{name}");
        assert_eq!(query.matches('#').count(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_of_the_tour_succeed_in_their_order() {
    let demo = Demo::new();
    let process = demo.serve("127.0.0.1:0").await;
    // Once on the demo data as the files contain it and once, as the page does it, on the ticket
    // that the tour has opened.
    for own_ticket in [false, true] {
        run_tour(&process.address, own_ticket).await;
    }
    assert!(process.terminate(rustix::process::Signal::TERM).await);
}

/// Values that a person copies from a response, or reads from their phone, and types.
#[derive(Default)]
struct Typed {
    app: Option<Totp>,
    recovery_code: Option<Value>,
    challenge: Option<Value>,
    /// How many codes were used. A code works once, so each is for a later time step.
    codes: u64,
}

impl Typed {
    fn fill_in(&mut self, input: &mut Value) {
        let Value::Object(input) = input else { return };
        if let (Some(_), Some(challenge)) = (input.get("challengeToken"), &self.challenge) {
            input.insert("challengeToken".into(), challenge.clone());
        }
        let code = match input.get("method").and_then(Value::as_str) {
            Some("AUTHENTICATOR") => self.app.as_ref().map(|app| {
                let now = u64::try_from(SystemClock.now().timestamp()).unwrap();
                self.codes += 1;
                json!(app.generate(now + 30 * (self.codes - 1)).to_string())
            }),
            Some("RECOVERY_CODE") => self.recovery_code.clone(),
            _ => None,
        };
        if let (Some(_), Some(code)) = (input.get("code"), code) {
            input.insert("code".into(), code);
        }
    }

    fn note(&mut self, data: &Value) {
        if let Some(uri) = data.pointer("/beginSecondFactor/authenticator/uri") {
            self.app = Some(Totp::from_url(uri.as_str().unwrap()).unwrap());
        }
        if let Some(code) = data.pointer("/confirmSecondFactor/recoveryCodes/0") {
            self.recovery_code = Some(code.clone());
        }
        if let Some(token) = data.pointer("/signIn/challenge/token") {
            self.challenge = Some(token.clone());
        }
    }
}

async fn run_tour(address: &str, own_ticket: bool) {
    let mut client = Client::new(address, None);
    let (mut ticket, mut stream, mut view) = (None::<String>, None, Value::Null);
    let mut typed = Typed::default();
    for Operation { name, query, mut variables } in operations() {
        if let Some(id) = ticket.as_ref().filter(|_| own_ticket) {
            let target = if variables["input"].is_object() {
                &mut variables["input"]
            } else {
                &mut variables
            };
            if target["ticketId"].is_string() {
                target["ticketId"] = json!(id);
            }
        }
        if query.contains("\nsubscription ") {
            let mut socket = client.socket().await;
            socket.subscribe("tour", &query, variables).await;
            while socket.item().await["__typename"] != "Checkpoint" {}
            stream = Some(socket);
            continue;
        }
        typed.fill_in(&mut variables["input"]);
        let data = client.ok(&query, variables).await;
        typed.note(&data);
        let answer = data.as_object().unwrap().values().next_back().unwrap();
        assert!(items(&answer["userErrors"]).is_empty(), "{name}: {answer}");
        if let Some(token) = answer.pointer("/session/token") {
            client.token = Some(token.as_str().unwrap().to_owned());
        }
        if let Some(id) = data.pointer("/createTicket/ticket/id") {
            ticket = Some(id.as_str().unwrap().to_owned());
        }
        if name.ends_with("-comment") {
            let stream = stream.as_mut().expect("a stream before the comment");
            while stream.item().await["__typename"] != "CommentAdded" {}
        }
        if name.ends_with("-what-the-customer-sees") {
            view = data;
        }
    }
    let (seen, files) = (view.to_string(), operations());
    let body = |part: &str| {
        let found = files.iter().find(|operation| operation.name.contains(part)).unwrap();
        found.variables["input"]["body"].to_string()
    };
    assert!(seen.contains(&body("-comment")) && seen.contains(&body("-answer")), "{seen}");
    assert!(!seen.contains(&body("-note")) && !seen.contains("INTERNAL"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_completes_the_tour() {
    let demo = Demo::new();
    let mut server = Some(demo.serve("127.0.0.1:0").await);
    let address = server.as_ref().unwrap().address.clone();
    let mut script = Script::start("tour.js", &format!("http://{address}/playground")).await;
    while let Some(command) = script.command().await {
        match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["kill"] => server.take().expect("a running server").kill().await,
            ["start"] => server = Some(demo.serve(&address).await),
            ["meanwhile", ticket, body] => {
                let other = demo.serve("127.0.0.1:0").await;
                let client = Demo::sign_in(&other.address, CUSTOMER).await;
                let document = "mutation($input: AddCommentInput!) { addComment(input: $input) { userErrors { code } } }";
                client.ok(document, json!({ "input": { "ticketId": ticket, "body": body } })).await;
                assert!(other.terminate(rustix::process::Signal::TERM).await);
            }
            ["revoke", token] => {
                let client = Client::new(&address, Some(token.to_owned()));
                client.ok("mutation { signOut { signedOut } }", json!({})).await;
            }
            ref other => panic!("the script asks for {other:?}"),
        }
        script.done().await;
    }
    assert!(script.succeeded().await, "the tour failed: see above");
    assert!(server.unwrap().terminate(rustix::process::Signal::TERM).await);
}
