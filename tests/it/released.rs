//! Breaking changes since the last release: `schema.graphql` compared with `released.graphql`.
//!
//! A breaking change is allowed only if CHANGELOG.md names it under "Unreleased", so that
//! integrators read of it before they upgrade.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use async_graphql::parser::{
    parse_schema,
    types::{
        FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind, TypeSystemDefinition,
    },
};

#[test]
fn every_breaking_change_of_the_schema_is_named_in_the_changelog() {
    let (released, current) = (read("released.graphql"), read("schema.graphql"));
    let changelog = read("CHANGELOG.md");
    let unreleased = changelog.split("\n## ").find(|part| part.starts_with("Unreleased")).unwrap();
    let unnamed = breaking_changes(&released, &current)
        .into_iter()
        .filter(|(element, _)| !unreleased.contains(&format!("`{element}`")))
        .map(|(element, change)| format!("{element}: {change}"));
    assert_eq!(
        unnamed.collect::<Vec<_>>(),
        [] as [String; 0],
        "undo the change, deprecate first, or name the element in CHANGELOG.md"
    );
}

#[test]
fn removals_and_stricter_types_are_breaking_and_additions_are_not() {
    let released = "
        type Query { a(x: Int): Int! b: Int gone: Int }
        input New { x: Int y: Int! d: Int! = 1 }
        enum Color { RED GREEN }
        union Any = Query
        type Lost { a: Int }";
    let current = "
        type Query { a(x: Int!, y: Int, z: Int!): Int b: Int! }
        input New { x: Int! y: Int z: Int w: Int! = 1 v: Int! d: Int! }
        enum Color { RED BLUE }
        union Any = Query
        type More { a: Int }";
    let elements = breaking_changes(released, current).into_keys();
    assert_eq!(
        elements.collect::<Vec<_>>(),
        [
            "Color.GREEN",
            "Lost",
            "New.d",
            "New.v",
            "New.x",
            "Query.a",
            "Query.a(x:)",
            "Query.a(z:)",
            "Query.gone"
        ]
    );
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What a client of the released schema would stumble over: the element, and what changed.
fn breaking_changes(released: &str, current: &str) -> BTreeMap<String, String> {
    let (released, current) = (types(released), types(current));
    let mut found = BTreeMap::new();
    for (name, old) in &released {
        let Some(new) = current.get(name) else {
            found.insert(name.clone(), "removed".into());
            continue;
        };
        let (old, new) = (Shape::of(&old.kind), Shape::of(&new.kind));
        compare(name, &old, &new, &mut found);
    }
    found
}

fn types(sdl: &str) -> BTreeMap<String, TypeDefinition> {
    let document = parse_schema(sdl).unwrap();
    let types = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(ty) => Some((ty.node.name.node.to_string(), ty.node)),
        TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
    });
    types.collect()
}

/// What clients can rely on of a type.
#[derive(Default)]
struct Shape {
    kind: &'static str,
    /// Values, members and interfaces.
    names: BTreeSet<String>,
    fields: BTreeMap<String, Field>,
    inputs: BTreeMap<String, Input>,
}

struct Field {
    ty: String,
    arguments: BTreeMap<String, Input>,
}

struct Input {
    ty: String,
    default: Option<String>,
}

impl Shape {
    fn of(kind: &TypeKind) -> Self {
        let names = |names: Vec<String>| names.into_iter().collect();
        match kind {
            TypeKind::Scalar => Self { kind: "scalar", ..Self::default() },
            TypeKind::Object(object) => Self {
                kind: "type",
                names: object.implements.iter().map(|name| name.node.to_string()).collect(),
                fields: fields(object.fields.iter().map(|field| &field.node)),
                ..Self::default()
            },
            TypeKind::Interface(interface) => Self {
                kind: "interface",
                fields: fields(interface.fields.iter().map(|field| &field.node)),
                ..Self::default()
            },
            TypeKind::Union(union) => Self {
                kind: "union",
                names: names(union.members.iter().map(|name| name.node.to_string()).collect()),
                ..Self::default()
            },
            TypeKind::Enum(values) => Self {
                kind: "enum",
                names: values
                    .values
                    .iter()
                    .map(|value| value.node.value.node.to_string())
                    .collect(),
                ..Self::default()
            },
            TypeKind::InputObject(input) => Self {
                kind: "input",
                inputs: inputs(input.fields.iter().map(|field| &field.node)),
                ..Self::default()
            },
        }
    }
}

fn fields<'f>(fields: impl Iterator<Item = &'f FieldDefinition>) -> BTreeMap<String, Field> {
    let fields = fields.map(|field| {
        let arguments = inputs(field.arguments.iter().map(|argument| &argument.node));
        (field.name.node.to_string(), Field { ty: field.ty.node.to_string(), arguments })
    });
    fields.collect()
}

fn inputs<'i>(inputs: impl Iterator<Item = &'i InputValueDefinition>) -> BTreeMap<String, Input> {
    let inputs = inputs.map(|input| {
        let default = input.default_value.as_ref().map(|value| value.node.to_string());
        (input.name.node.to_string(), Input { ty: input.ty.node.to_string(), default })
    });
    inputs.collect()
}

fn compare(name: &str, old: &Shape, new: &Shape, found: &mut BTreeMap<String, String>) {
    if old.kind != new.kind {
        found.insert(name.to_owned(), format!("{} became {}", old.kind, new.kind));
        return;
    }
    for removed in old.names.difference(&new.names) {
        found.insert(format!("{name}.{removed}"), "removed".into());
    }
    compare_inputs(|input| format!("{name}.{input}"), &old.inputs, &new.inputs, found);
    for (field, was) in &old.fields {
        let element = format!("{name}.{field}");
        let Some(is) = new.fields.get(field) else {
            found.insert(element, "removed".into());
            continue;
        };
        // A client that expects a value or null can handle one that is never null.
        if is.ty != was.ty && !is_stricter(&is.ty, &was.ty) {
            found.insert(element, format!("{} became {}", was.ty, is.ty));
        }
        let argument = |argument: &str| format!("{name}.{field}({argument}:)");
        compare_inputs(argument, &was.arguments, &is.arguments, found);
    }
}

fn compare_inputs(
    element: impl Fn(&str) -> String,
    old: &BTreeMap<String, Input>,
    new: &BTreeMap<String, Input>,
    found: &mut BTreeMap<String, String>,
) {
    for (name, was) in old {
        let change = match new.get(name) {
            None => "removed".to_owned(),
            Some(is) if is.ty != was.ty && !is_stricter(&was.ty, &is.ty) => {
                format!("{} became {}", was.ty, is.ty)
            }
            Some(is) if was.default.is_some() && is.default != was.default => {
                "its default changed".to_owned()
            }
            Some(_) => continue,
        };
        found.insert(element(name), change);
    }
    let required = |input: &Input| input.ty.ends_with('!') && input.default.is_none();
    for (name, _) in new.iter().filter(|(name, is)| !old.contains_key(*name) && required(is)) {
        found.insert(element(name), "new and required".into());
    }
}

/// Whether a type is another with more `!`.
fn is_stricter(ty: &str, than: &str) -> bool {
    let mut rest = than.chars().peekable();
    for c in ty.chars() {
        match rest.peek() {
            Some(&next) if next == c => _ = rest.next(),
            _ if c == '!' => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}
