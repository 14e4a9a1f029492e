//! Variables without a value: the arguments and input fields that use them are left out, so that
//! their defaults apply (GraphQL specification, §6.4.1 and §3.10).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use async_graphql::parser::{
    parse_schema,
    types::{
        BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{Client, TestServer, client::SALES};

const RETIRED: &str = "query($r: Boolean) { categories(includeRetired: $r) { slug } }";

/// An admin who has retired one of three categories, so that `includeRetired` makes a difference.
async fn admin(server: &TestServer) -> Client {
    let ada = server.sign_up("Ada", Role::Admin).await;
    let retire =
        "mutation($id: ID!) { retireCategory(input: { id: $id }) { userErrors { code } } }";
    ada.ok(retire, json!({ "id": SALES })).await;
    ada
}

/// The number of categories that a query finds under the name `categories`.
async fn categories(client: &Client, query: &str, variables: Value) -> usize {
    client.ok(query, variables).await["categories"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_of_an_argument_applies_if_its_variable_is_absent() {
    let server = TestServer::start().await;
    let ada = admin(&server).await;
    for (query, absent) in [
        (RETIRED, 2),
        ("query($r: Boolean = true) { categories(includeRetired: $r) { slug } }", 3),
        ("query($r: Boolean! = true) { categories(includeRetired: $r) { slug } }", 3),
        (
            "query($r: Boolean) { ...f } fragment f on Query { ... { categories(includeRetired: $r) { slug } } }",
            2,
        ),
        (
            "query($r: Boolean) { ...f ...f } fragment f on Query { ...g } fragment g on Query { categories(includeRetired: $r) { slug } }",
            2,
        ),
    ] {
        assert_eq!(categories(&ada, query, json!({})).await, absent, "{query}");
        assert_eq!(categories(&ada, query, json!({ "r": true })).await, 3, "{query}");
        assert_eq!(categories(&ada, query, json!({ "r": false })).await, 2, "{query}");
        let null = ada.send(query, json!({ "r": null })).await;
        assert_eq!(null.code(), "BAD_REQUEST", "{query}: {}", null.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_may_be_shared_with_an_operation_that_is_not_requested() {
    let server = TestServer::start().await;
    let ada = admin(&server).await;
    let query = "query A($r: Boolean) { ...f }
        query B($r: Boolean! = true) { ...f }
        query C($r: Boolean!) { ...f categories(includeRetired: $r) { slug } }
        query D($r: Boolean!) { categories(includeRetired: $r) { slug } }
        fragment f on Query { categories(includeRetired: $r) { slug } }";
    for (name, found) in [("A", 2), ("B", 3)] {
        let body = json!({ "query": query, "operationName": name }).to_string();
        let reply = ada.post("application/json", body).await;
        let list = reply.at("/data/categories").as_array();
        assert_eq!(list.map(Vec::len), Some(found), "{name}: {}", reply.body);
    }
    for (name, message) in [("C", "The variable `$r` of type `Boolean!` needs a value."), ("E", "")]
    {
        let body = json!({ "query": query, "operationName": name }).to_string();
        let reply = ada.post("application/json", body).await;
        assert_eq!(reply.code(), "BAD_REQUEST");
        assert!(
            reply.at("/errors/0/message").as_str().unwrap().contains(message),
            "{}",
            reply.body
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_of_an_input_field_applies_if_its_variable_is_absent() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let comment = "mutation($t: ID!, $v: CommentVisibility, $f: [Upload!], $s: TicketStatus) { addComment(input: {
        ticketId: $t, body: \"b\", visibility: $v, attachments: $f, status: $s }) { comment { visibility } } }";
    let visibility = async |variables: Value| {
        marta.ok(comment, variables).await["addComment"]["comment"]["visibility"].clone()
    };
    assert_eq!(visibility(json!({ "t": ticket.id })).await, "PUBLIC");
    assert_eq!(visibility(json!({ "t": ticket.id, "v": "INTERNAL" })).await, "INTERNAL");
    for null in ["v", "f"] {
        let reply = marta.send(comment, json!({ "t": ticket.id, null: null })).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{null}: {}", reply.body);
    }
    // A variable for the whole input, without the fields that have defaults.
    let (_, ticket) = marta.comment_with(&ticket, json!({ "body": "c" })).await;
    // An object in an object, and fields of which null says something else than nothing.
    let sorted = "query($d: OrderDirection, $a: ID, $after: String) { tickets(
        orderBy: { field: CREATED_AT, direction: $d }, filter: { assigneeId: $a }, after: $after) { nodes { number } } }";
    let second = anna.create_ticket("two").await;
    let assign =
        "mutation($t: ID!, $a: ID) { updateTicket(input: { ticketId: $t, assigneeId: $a }) {
        ticket { assignee { name } } } }";
    let assigned = async |variables: Value| {
        marta.ok(assign, variables).await["updateTicket"]["ticket"]["assignee"].clone()
    };
    let me = marta.account_id().await;
    let marta_assigned = json!({ "name": "Marta" });
    assert_eq!(assigned(json!({ "t": ticket.id, "a": me })).await, marta_assigned);
    assert_eq!(assigned(json!({ "t": ticket.id })).await, marta_assigned);
    let numbers = async |variables: Value| {
        let nodes = marta.ok(sorted, variables).await["tickets"]["nodes"].clone();
        let nodes = nodes.as_array().unwrap().iter().map(|node| node["number"].clone());
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(numbers(json!({})).await, [second.number.as_str(), &ticket.number]);
    assert_eq!(numbers(json!({ "d": "ASC" })).await, [ticket.number.as_str(), &second.number]);
    assert_eq!(numbers(json!({ "a": null })).await, [second.number.as_str()]);
    assert_eq!(assigned(json!({ "t": ticket.id, "a": null })).await, Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_variable_behaves_the_same_on_every_transport() {
    let server = TestServer::start().await;
    let ada = admin(&server).await;
    let parameters = [("query", RETIRED)];
    let by_get = ada.request(Method::GET, "/graphql", |request| request.query(&parameters)).await;
    assert_eq!(by_get.at("/data/categories").as_array().unwrap().len(), 2, "{}", by_get.body);
    let streamed = ada.stream(RETIRED, json!({})).await.event().await.unwrap().response();
    assert_eq!(streamed["data"]["categories"].as_array().unwrap().len(), 2, "{streamed}");
    let mut socket = ada.socket().await;
    socket.subscribe("1", RETIRED, json!({})).await;
    assert_eq!(socket.item().await.as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_with_and_without_a_value_do_not_share_their_messages() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let query = "subscription($l: Locale) { inboxEvents { __typename
        ... on TicketEvent { ticket { statusName(locale: $l) } } } }";
    let mut sockets = [anna.socket().await, anna.socket().await];
    for (socket, variables) in sockets.iter_mut().zip([json!({}), json!({ "l": "RU" })]) {
        socket.subscribe("1", query, variables).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
    }
    anna.comment(&ticket, "hello").await;
    let names = [sockets[0].item().await, sockets[1].item().await]
        .map(|item| item["ticket"]["statusName"].clone());
    assert_eq!(names, ["Waiting for support", "Ожидает поддержки"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_of_a_variable_applies_in_directives() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let query = "query($i: Boolean = true, $s: Boolean! = true) {
        viewer { name @include(if: $i) email @skip(if: $s) } }";
    let viewer = async |variables: Value| anna.ok(query, variables).await["viewer"].clone();
    let email = "anna@example.com";
    assert_eq!(viewer(json!({})).await, json!({ "name": "Anna" }));
    assert_eq!(viewer(json!({ "i": false, "s": false })).await, json!({ "email": email }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_number_is_an_integer_however_json_writes_it() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.create_ticket("one").await;
    anna.create_ticket("two").await;
    let query = "query($n: Int) { tickets(first: $n) { nodes { number } } }";
    let send = async |value: &str| {
        let body = format!(r#"{{ "query": {}, "variables": {{ "n": {value} }} }}"#, json!(query));
        anna.post("application/json", body).await
    };
    for (value, expected) in
        [("1", 1), ("1.0", 1), ("10e-1", 1), ("0.2e1", 2), ("-0", 0), ("-0.0", 0)]
    {
        let reply = send(value).await;
        let found = reply.at("/data/tickets/nodes").as_array().map(Vec::len);
        assert_eq!(found, Some(expected), "{value}: {}", reply.body);
    }
    for value in ["1.5", "1e10", "1e300", "\"1\""] {
        assert_eq!(send(value).await.code(), "BAD_REQUEST", "{value}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_place_without_a_value_is_a_clear_error() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    for (query, message) in [
        (
            "query($n: String!) { ticket(number: $n) { id } }",
            "The variable `$n` of type `String!` needs a value.",
        ),
        ("query($n: String) { ticket(number: $n) { id } }", "`String` is used where `String!`"),
        ("query($n: ID) { nodes(ids: [$n]) { id } }", "`ID` is used where `ID!`"),
        (
            "query($i: Boolean) { viewer @include(if: $i) { id } }",
            "`Boolean` is used where `Boolean!`",
        ),
        (
            "mutation($s: String) { createTicket(input: { categoryId: \"x\", summary: $s, description: \"d\" }) { ticket { id } } }",
            "`String` is used where `String!`",
        ),
        ("query($unused: Int) { viewer { id } }", "Variable \"$unused\" is not used"),
    ] {
        let reply = anna.send(query, json!({})).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{query}");
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.contains(message), "{query}: {found}");
        assert_eq!(reply.body.get("data"), None, "{query}: {}", reply.body);
    }
    // Null is a value.
    let default = "query($n: Int! = 5) { tickets(first: $n) { nodes { id } } }";
    anna.ok(default, json!({})).await;
    assert_eq!(anna.send(default, json!({ "n": null })).await.code(), "BAD_REQUEST");
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_is_used_only_where_its_type_fits() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    for (query, variables, message) in [
        ("query($v: String!) { node(id: $v) { id } }", json!("x"), "`String!` is used where `ID!`"),
        ("query($v: ID) { node(id: $v) { id } }", json!("x"), "`ID` is used where `ID!`"),
        ("query($v: ID = null) { node(id: $v) { id } }", json!("x"), "`ID` is used where `ID!`"),
        ("query($v: [ID]!) { nodes(ids: $v) { id } }", json!([]), "`[ID]!` is used where `[ID!]!`"),
        ("query($v: ID!) { nodes(ids: $v) { id } }", json!("x"), "`ID!` is used where `[ID!]!`"),
        (
            "query($v: [ID!]!) { nodes(ids: [$v]) { id } }",
            json!([]),
            "`[ID!]!` is used where `ID!`",
        ),
        (
            "query($v: Float) { tickets(first: $v) { nodes { id } } }",
            json!(3),
            "`Float` is used where `Int`",
        ),
        (
            "query($v: Boolean) { viewer { id @include(if: $v) } }",
            json!(true),
            "`Boolean` is used where `Boolean!`",
        ),
        (
            "query($v: String) { tickets(filter: { categoryIds: [$v] }) { nodes { id } } }",
            json!("x"),
            "`String` is used where `ID!`",
        ),
        (
            "query($v: ID!) { viewer { ...a } } fragment a on Account { ... { ...b } }
             fragment b on Account { createdAt @skip(if: $v) }",
            json!(true),
            "`ID!` is used where `Boolean!`",
        ),
    ] {
        let reply = anna.send(query, json!({ "v": variables })).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{query}");
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.starts_with("The variable `$v` of type"), "{query}: {found}");
        assert!(found.contains(message), "{query}: {found}");
        assert_eq!(reply.body.get("data"), None, "{query}: {}", reply.body);
    }
    let stream = "subscription($v: String) { inboxEvents { ... on TicketEvent {
        ticket { statusName(locale: $v) } } } }";
    let mut socket = anna.socket().await;
    socket.subscribe("1", stream, json!({ "v": "EN" })).await;
    let message = socket.message().await;
    assert_eq!(message["type"], "error", "{message}");
    assert_eq!(
        message["payload"][0]["message"],
        "The variable `$v` of type `String` is used where `Locale` is expected."
    );
    for (query, variables) in [
        ("query($v: Int!) { tickets(first: $v) { nodes { id } } }", json!(3)),
        ("query($v: Boolean = true) { viewer { id @include(if: $v) } }", json!(true)),
        ("query($v: [ID!]!) { tickets(filter: { categoryIds: $v }) { nodes { id } } }", json!([])),
        // The place has a default.
        ("query($v: Boolean) { categories(includeRetired: $v) { id } }", json!(false)),
        (
            "query($v: OrderDirection) { tickets(orderBy: { field: CREATED_AT, direction: $v }) {
                nodes { id } } }",
            json!("ASC"),
        ),
    ] {
        anna.ok(query, json!({ "v": variables })).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_default_of_the_schema_applies_if_a_variable_is_absent() {
    let server = TestServer::start().await;
    let ada = server.sign_up("Ada", Role::Admin).await;
    let schema = Schema::read();
    let mut tried = BTreeSet::new();
    for Operation { place, with_variable, left_out } in schema.operations() {
        let expected = without_locations(ada.send(&left_out, json!({})).await.body);
        assert!(!expected.to_string().contains("BAD_REQUEST"), "{left_out}: {expected}");
        let absent = without_locations(ada.send(&with_variable, json!({})).await.body);
        assert_eq!(absent, expected, "{with_variable}");
        let null = ada.send(&with_variable, json!({ "v": null })).await;
        assert_eq!(null.code(), "BAD_REQUEST", "{with_variable}: {}", null.body);
        tried.insert(place);
    }
    assert_eq!(tried, schema.defaults());
    server.stop().await;
}

/// Errors have other locations in another document.
fn without_locations(mut body: Value) -> Value {
    if let Some(errors) = body.get_mut("errors") {
        for error in errors.as_array_mut().unwrap() {
            error.as_object_mut().unwrap().remove("locations");
        }
    }
    body
}

/// `schema.graphql`, by the names of its types.
struct Schema(BTreeMap<String, TypeKind>);

/// An operation that uses the variable `$v` in a place with a default, and the same without it.
struct Operation {
    place: String,
    with_variable: String,
    left_out: String,
}

/// The arguments of a field, with and without a variable in one of their places.
struct Arguments {
    place: String,
    /// The type of the variable.
    ty: String,
    with_variable: String,
    left_out: String,
}

impl Schema {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
        let document = parse_schema(fs::read_to_string(path).unwrap()).unwrap();
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(ty) => Some((ty.node.name.node.to_string(), ty.node.kind)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Self(types.collect())
    }

    /// The fields of an object, or nothing for another type.
    fn fields(&self, ty: &str) -> Vec<&FieldDefinition> {
        match self.0.get(ty) {
            Some(TypeKind::Object(object)) => {
                object.fields.iter().map(|field| &field.node).collect()
            }
            _ => vec![],
        }
    }

    /// The fields of an input object, or nothing for another type.
    fn inputs(&self, ty: &str) -> Vec<&InputValueDefinition> {
        match self.0.get(ty) {
            Some(TypeKind::InputObject(object)) => {
                object.fields.iter().map(|field| &field.node).collect()
            }
            _ => vec![],
        }
    }

    /// The places that have a default.
    fn defaults(&self) -> BTreeSet<String> {
        let mut places = BTreeSet::new();
        for ty in self.0.keys() {
            let mut add = |owner: &str, inputs: Vec<&InputValueDefinition>| {
                let defaults = inputs.into_iter().filter(|input| input.default_value.is_some());
                places.extend(defaults.map(|input| format!("{owner}.{}", input.name)));
            };
            add(ty, self.inputs(ty));
            for field in self.fields(ty) {
                add(&format!("{ty}.{}", field.name), arguments(field));
            }
        }
        places
    }

    /// Operations for all places that can be reached from `Query` and `Mutation` through objects.
    fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        let roots = [("Query", "query"), ("Mutation", "mutation")];
        for (root, keyword) in roots {
            let (mut visited, mut pending) = (BTreeSet::from([root]), VecDeque::new());
            pending.push_back((root, String::from("{"), String::from("}")));
            while let Some((ty, open, close)) = pending.pop_front() {
                for field in self.fields(ty) {
                    let item = named(&field.ty.node);
                    let leaf = matches!(
                        self.0.get(item),
                        None | Some(TypeKind::Scalar | TypeKind::Enum(_))
                    );
                    let selection = if leaf { "" } else { "{ __typename }" };
                    let select = |arguments: &str| {
                        format!("{open} {} {selection} {close}", call(field, arguments))
                    };
                    let owner = format!("{ty}.{}", field.name);
                    for found in self.with_default(&owner, &arguments(field), &mut vec![]) {
                        operations.push(Operation {
                            place: found.place,
                            with_variable: format!(
                                "{keyword}($v: {}) {}",
                                found.ty,
                                select(&found.with_variable)
                            ),
                            left_out: format!("{keyword} {}", select(&found.left_out)),
                        });
                    }
                    if !self.fields(item).is_empty() && visited.insert(item) {
                        let required = self.required(&arguments(field)).join(" ");
                        let open = format!("{open} {} {{", call(field, &required));
                        pending.push_back((item, open, format!("}} {close}")));
                    }
                }
            }
        }
        operations
    }

    /// For each place with a default in these inputs, and in the input objects in them: the inputs
    /// with and without a variable there.
    fn with_default<'s>(
        &'s self,
        owner: &str,
        inputs: &[&'s InputValueDefinition],
        within: &mut Vec<&'s str>,
    ) -> Vec<Arguments> {
        let mut found = Vec::new();
        for input in inputs {
            let others = inputs.iter().filter(|other| other.name.node != input.name.node);
            let others = self.required(&others.copied().collect::<Vec<_>>()).join(" ");
            let name = &input.name.node;
            if input.default_value.is_some() {
                found.push(Arguments {
                    place: format!("{owner}.{name}"),
                    ty: input.ty.to_string().trim_end_matches('!').to_owned(),
                    with_variable: format!("{others} {name}: $v"),
                    left_out: others.clone(),
                });
            }
            let object = named(&input.ty.node);
            if !within.contains(&object) {
                within.push(object);
                for inner in self.with_default(object, &self.inputs(object), within) {
                    let with = |fields: &str| format!("{others} {name}: {{ {fields} }}");
                    found.push(Arguments {
                        with_variable: with(&inner.with_variable),
                        left_out: with(&inner.left_out),
                        ..inner
                    });
                }
                within.pop();
            }
        }
        found
    }

    /// The required inputs, each with a value.
    fn required(&self, inputs: &[&InputValueDefinition]) -> Vec<String> {
        let required =
            inputs.iter().filter(|input| !input.ty.node.nullable && input.default_value.is_none());
        required.map(|input| format!("{}: {}", input.name, self.value(&input.ty.node))).collect()
    }

    fn value(&self, ty: &Type) -> String {
        let name = match &ty.base {
            BaseType::List(item) => return format!("[{}]", self.value(item)),
            BaseType::Named(name) => name.as_str(),
        };
        match (name, self.0.get(name)) {
            ("Int", _) => "1".into(),
            ("Float", _) => "1.5".into(),
            ("Boolean", _) => "true".into(),
            ("DateTime", _) => "\"2026-01-31T12:00:00Z\"".into(),
            (_, Some(TypeKind::Enum(values))) => values.values[0].node.value.to_string(),
            (_, Some(TypeKind::InputObject(_))) => {
                format!("{{ {} }}", self.required(&self.inputs(name)).join(" "))
            }
            _ => "\"x\"".into(),
        }
    }
}

fn arguments(field: &FieldDefinition) -> Vec<&InputValueDefinition> {
    field.arguments.iter().map(|argument| &argument.node).collect()
}

fn call(field: &FieldDefinition, arguments: &str) -> String {
    let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
    format!("{}{arguments}", field.name)
}

/// The name of a type, or of the type of a list's items.
fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => named(item),
    }
}
