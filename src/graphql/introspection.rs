//! How many values the answer to an introspection query has.
//!
//! async-graphql counts a list of the schema as one field, whatever its length. Types refer to each other
//! in circles, so a document of 300 bytes could ask for billions of values. They are counted before the
//! document is executed.

use std::{collections::HashMap, sync::OnceLock};

use async_graphql::{
    Pos, Positioned, Response, ServerError, ServerResult, Value as ConstValue, Variables,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
};
use futures_util::FutureExt as _;
use serde::{Deserialize, de::IgnoredAny};

use super::operation::requested_operation;

/// How many values an answer may have. The whole schema, as tools ask for it, has about a fifth.
const MAX_VALUES: usize = 100_000;

/// What lists the schema has, as far as introspection shows it.
const QUERY: &str = "{ __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    directives { args { type { ...Type } } }
    types {
        name
        fields(includeDeprecated: true) { type { ...Type } args { type { ...Type } } }
        inputFields { type { ...Type } }
        enumValues(includeDeprecated: true) { __typename }
        interfaces { name }
        possibleTypes { name }
    }
} }
fragment Type on __Type { name ofType { name ofType { name ofType { name ofType { name } } } } }";

/// The lists of the schema.
pub struct SchemaShape {
    schema: SchemaLists,
    types: HashMap<String, TypeLists>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "__schema")]
    schema: SchemaLists,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaLists {
    query_type: TypeReference,
    mutation_type: Option<TypeReference>,
    subscription_type: Option<TypeReference>,
    directives: Vec<DirectiveLists>,
    types: Vec<TypeLists>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeLists {
    name: String,
    fields: Option<Vec<FieldLists>>,
    input_fields: Option<Vec<InputValue>>,
    enum_values: Option<Vec<IgnoredAny>>,
    interfaces: Option<Vec<TypeReference>>,
    possible_types: Option<Vec<TypeReference>>,
}

#[derive(Deserialize)]
struct FieldLists {
    #[serde(rename = "type")]
    ty: TypeReference,
    args: Vec<InputValue>,
}

#[derive(Deserialize)]
struct DirectiveLists {
    args: Vec<InputValue>,
}

#[derive(Deserialize)]
struct InputValue {
    #[serde(rename = "type")]
    ty: TypeReference,
}

/// A type with a name, or a list or non-null type of another one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeReference {
    name: Option<String>,
    of_type: Option<Box<Self>>,
}

/// An object of the answer.
enum Object<'s> {
    /// The answer itself. What it has beside the schema is not counted.
    Query,
    Schema,
    Type(&'s TypeLists),
    /// A list or non-null type of this one.
    TypeOf(&'s TypeReference),
    Field(&'s FieldLists),
    InputValue(&'s InputValue),
    EnumValue,
    Directive(&'s DirectiveLists),
}

impl SchemaShape {
    /// Returns the lists of the schema, which `execute` executes a query of. They are read once in a
    /// process.
    pub(super) fn of<F: Future<Output = Response>>(
        execute: impl FnOnce(&'static str) -> F,
    ) -> Option<&'static Self> {
        static SHAPE: OnceLock<Option<SchemaShape>> = OnceLock::new();
        // Introspection never waits.
        SHAPE.get_or_init(|| Self::read(execute(QUERY).now_or_never()?)).as_ref()
    }

    fn read(response: Response) -> Option<Self> {
        let data = response.data.into_json().and_then(serde_json::from_value::<Data>);
        let mut schema = data.ok()?.schema;
        let types = std::mem::take(&mut schema.types).into_iter();
        let types = types.map(|ty| (ty.name.clone(), ty)).collect();
        Some(Self { schema, types })
    }

    /// Checks that the answer to the operation with a name does not have too many values of the schema.
    ///
    /// # Errors
    /// It has.
    pub fn check(
        &self,
        document: &ExecutableDocument,
        name: Option<&str>,
        variables: &Variables,
    ) -> ServerResult<()> {
        let Some(operation) = requested_operation(document, name) else { return Ok(()) };
        let mut count = Count { shape: self, document, variables, left: MAX_VALUES };
        count.object(&Object::Query, &operation.selection_set.node)
    }

    fn named(&self, reference: &TypeReference) -> Option<&TypeLists> {
        self.types.get(reference.name.as_ref()?)
    }

    fn referred<'s>(&'s self, reference: &'s TypeReference) -> Option<Object<'s>> {
        match reference.of_type.as_deref() {
            Some(inner) => Some(Object::TypeOf(inner)),
            None => self.named(reference).map(Object::Type),
        }
    }

    /// Returns the objects that a field of an object of the schema has as its value.
    fn objects<'s>(&'s self, object: &Object<'s>, field: &str) -> Vec<Object<'s>> {
        let named = |references: &'s Option<Vec<TypeReference>>| {
            let types = references.iter().flatten().filter_map(|it| self.named(it));
            types.map(Object::Type).collect()
        };
        let one = |reference: Option<&'s TypeReference>| {
            reference.and_then(|it| self.referred(it)).into_iter().collect()
        };
        let input_values =
            |values: &'s [InputValue]| values.iter().map(Object::InputValue).collect();
        let schema = &self.schema;
        match (object, field) {
            (Object::Schema, "types") => self.types.values().map(Object::Type).collect(),
            (Object::Schema, "queryType") => one(Some(&schema.query_type)),
            (Object::Schema, "mutationType") => one(schema.mutation_type.as_ref()),
            (Object::Schema, "subscriptionType") => one(schema.subscription_type.as_ref()),
            (Object::Schema, "directives") => {
                schema.directives.iter().map(Object::Directive).collect()
            }
            (Object::Type(ty), "fields") => ty.fields.iter().flatten().map(Object::Field).collect(),
            (Object::Type(ty), "inputFields") => {
                input_values(ty.input_fields.as_deref().unwrap_or_default())
            }
            (Object::Type(ty), "enumValues") => {
                ty.enum_values.iter().flatten().map(|_| Object::EnumValue).collect()
            }
            (Object::Type(ty), "interfaces") => named(&ty.interfaces),
            (Object::Type(ty), "possibleTypes") => named(&ty.possible_types),
            (Object::TypeOf(inner), "ofType") => one(Some(inner)),
            (
                Object::Field(FieldLists { ty, .. }) | Object::InputValue(InputValue { ty }),
                "type",
            ) => one(Some(ty)),
            (
                Object::Field(FieldLists { args, .. }) | Object::Directive(DirectiveLists { args }),
                "args",
            ) => input_values(args),
            _ => Vec::new(),
        }
    }
}

/// Counts the values of an answer.
struct Count<'c> {
    shape: &'c SchemaShape,
    document: &'c ExecutableDocument,
    variables: &'c Variables,
    left: usize,
}

impl<'c> Count<'c> {
    /// Returns the objects that a field of an object has as its value.
    fn objects(&self, object: &Object<'c>, field: &Field) -> Vec<Object<'c>> {
        match (object, field.name.node.as_str()) {
            (Object::Query, "__schema") => vec![Object::Schema],
            (Object::Query, "__type") => self.type_named_in(field).into_iter().collect(),
            (object, name) => self.shape.objects(object, name),
        }
    }

    fn type_named_in(&self, field: &Field) -> Option<Object<'c>> {
        let name = &field.get_argument("name")?.node;
        let name = name
            .clone()
            .into_const_with(|variable| self.variables.get(&variable).cloned().ok_or(()));
        match name.ok()? {
            ConstValue::String(name) => self.shape.types.get(&name).map(Object::Type),
            _ => None,
        }
    }

    /// Counts the values of an object of which a set is selected.
    fn object(&mut self, object: &Object<'c>, set: &'c SelectionSet) -> ServerResult<()> {
        for Positioned { node, pos } in &set.items {
            self.count(*pos)?;
            match node {
                Selection::Field(field) => {
                    for value in self.objects(object, &field.node) {
                        self.count(*pos)?;
                        self.object(&value, &field.node.selection_set.node)?;
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.object(object, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.object(object, &fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, pos: Pos) -> ServerResult<()> {
        let Some(left) = self.left.checked_sub(1) else {
            let message = format!(
                "The answer would have more than {MAX_VALUES} values of the schema. Ask for fewer \
                 at a time."
            );
            return Err(ServerError::new(message, Some(pos)));
        };
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{parser::parse_query, value};

    use super::*;

    /// Whether a document may be executed.
    fn check(document: &str, variables: ConstValue) -> ServerResult<()> {
        let schemas = super::super::build(true);
        let document = parse_query(document).unwrap();
        schemas.shape.unwrap().check(&document, None, &Variables::from_value(variables))
    }

    fn assert_refused(document: &str) {
        let error = check(document, value!({})).unwrap_err();
        assert!(error.message.contains("values of the schema"), "{error}");
    }

    #[test]
    fn the_query_of_tools_has_a_fraction_of_the_values_that_are_allowed() {
        let of_type = "ofType { kind name ".repeat(9) + &"} ".repeat(9);
        let whole = format!(
            "query IntrospectionQuery {{ __schema {{ description
                queryType {{ name kind }} mutationType {{ name kind }} subscriptionType {{ name kind }}
                types {{ ...FullType }}
                directives {{ name description isRepeatable locations
                    args(includeDeprecated: true) {{ ...InputValue }} }} }} }}
            fragment FullType on __Type {{ kind name description specifiedByURL isOneOf
                fields(includeDeprecated: true) {{ name description
                    args(includeDeprecated: true) {{ ...InputValue }}
                    type {{ ...TypeRef }} isDeprecated deprecationReason }}
                inputFields(includeDeprecated: true) {{ ...InputValue }}
                interfaces {{ ...TypeRef }}
                enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }}
                possibleTypes {{ ...TypeRef }} }}
            fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue
                isDeprecated deprecationReason }}
            fragment TypeRef on __Type {{ kind name {of_type} }}"
        );
        check(&whole, value!({})).unwrap();
        let schemas = super::super::build(true);
        let (document, variables) = (parse_query(&whole).unwrap(), Variables::default());
        let shape = schemas.shape.unwrap();
        let mut count =
            Count { shape, document: &document, variables: &variables, left: MAX_VALUES };
        let operation = requested_operation(&document, None).unwrap();
        count.object(&Object::Query, &operation.selection_set.node).unwrap();
        let share = (MAX_VALUES - count.left) as f64 / MAX_VALUES as f64;
        assert!((0.1..0.4).contains(&share), "{share}");
    }

    #[test]
    fn circles_and_many_names_are_refused() {
        let circle = |levels: usize| {
            let (begin, end) = ("possibleTypes{interfaces{".repeat(levels), "}}".repeat(levels));
            format!("{{__type(name:\"TicketEvent\"){{{begin}name{end}}}}}")
        };
        check(&circle(2), value!({})).unwrap();
        assert_refused(&circle(9));
        assert_refused(&circle(9).replace("__type", "a: __type"));
        let named = circle(9)
            .replace("{__type(name:\"TicketEvent\")", "query($n: String!) {__type(name: $n)");
        assert!(check(&named, value!({ "n": "TicketEvent" })).is_err());
        assert!(check(&named, value!({ "n": "Unknown" })).is_ok());
        // The types of introspection are types too.
        let shape = super::super::build(true).shape.unwrap();
        assert!(shape.types["__Type"].fields.as_ref().unwrap().len() > 5);
        let names = |field: &str, count: usize, set: &str| {
            (0..count).map(|n| format!("{field}{n}: {field} {set} ")).collect::<String>()
        };
        let wide = format!(
            "{{ ...S }} fragment S on Query {{ __schema {{ types {{ fields {{ ...F }} }} }} }}
            fragment F on __Field {{ {} {} {} }} fragment T on __Type {{ {} {} }}",
            names("name", 50, ""),
            names("description", 50, ""),
            names("type", 50, "{ ... { ...T } }"),
            names("kind", 30, ""),
            names("name", 30, ""),
        );
        assert_refused(&wide);
    }
}
