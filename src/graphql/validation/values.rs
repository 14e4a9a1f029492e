//! Values where they are used (GraphQL specification, §5.6), and the values of variables (§6.1.2).
//! async-graphql has a rule for literals, but accepts strings in place of enums, lists and scalars
//! in place of input objects, and any text in place of a date.

use async_graphql::{
    Positioned, ScalarType, ServerError, ServerResult, Variables,
    parser::types::{ExecutableDocument, OperationDefinition},
    registry::{MetaEnumValue, MetaInputValue, MetaType, MetaTypeName, Registry},
};
use async_graphql_value::{ConstValue, Number, Value, indexmap::IndexMap};

use super::arguments;
use crate::{
    domain::clock::has_four_digit_year,
    graphql::{
        attachment::{NOT_A_FILE, Upload},
        date::Date,
    },
};

/// Up to here a float distinguishes all whole numbers.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;
/// How much of a value is quoted in a message, in characters.
const MAX_QUOTE: usize = 50;

/// Rejects a document with a literal that its place does not accept. Variables in literals are
/// skipped: their types are checked elsewhere.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    let literals = Values { registry, are_literals: true };
    for argument in arguments::of_document(registry, document) {
        let Positioned { node: value, pos } = argument.value;
        literals.check(&argument.place.ty, value).map_err(|wrong| {
            let Wrong { path, problem } = wrong;
            let (name, owner) = (&argument.place.name, argument.owner);
            let message = format!("The argument `{name}{path}` of {owner} {problem}");
            ServerError::new(message, Some(*pos))
        })?;
    }
    for (_, operation) in document.operations.iter() {
        literals.check_defaults(&operation.node)?;
    }
    Ok(())
}

/// Checks the values of an operation's variables (`CoerceVariableValues`). Whether each required
/// variable has a value is checked elsewhere, and so is whether a file belongs to the request.
///
/// # Errors
/// A value is not of the variable's type. The message names the place within the value.
pub fn check_variables(
    registry: &Registry,
    operation: &OperationDefinition,
    variables: &Variables,
) -> ServerResult<()> {
    let values = Values { registry, are_literals: false };
    for Positioned { node: definition, pos } in &operation.variable_definitions {
        let name = &definition.name.node;
        let Some(value) = variables.get(name) else { continue };
        let ty = definition.var_type.to_string();
        values.check(&ty, &value.clone().into_value()).map_err(|Wrong { path, problem }| {
            ServerError::new(format!("The variable `${name}{path}` {problem}"), Some(*pos))
        })?;
    }
    Ok(())
}

/// Writes the whole numbers among the values of variables as integers. In JSON `1.0` is the number 1,
/// and `-0` is 0, but they are parsed as floats, which no `Int` and no `ID` accepts.
pub fn write_whole_numbers(variables: &mut Variables) {
    variables.values_mut().for_each(write_whole_number);
}

fn write_whole_number(value: &mut ConstValue) {
    match value {
        ConstValue::Number(number) => {
            let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = float.filter(|float| float.abs() <= MAX_WHOLE) {
                *number = Number::from(float as i64);
            }
        }
        ConstValue::List(items) => items.iter_mut().for_each(write_whole_number),
        ConstValue::Object(fields) => fields.values_mut().for_each(write_whole_number),
        _ => {}
    }
}

/// Why a value is not accepted.
struct Wrong {
    /// The place within the value, such as `.filter.status[0]`.
    path: String,
    problem: String,
}

impl Wrong {
    fn new(problem: String) -> Self {
        Self { path: String::new(), problem }
    }

    fn mismatch(ty: &str, value: &Value, hint: &str) -> Self {
        let problem = format!("must be of type `{ty}`, but is {}. {hint}", describe(value));
        Self::new(problem.trim_end().to_owned())
    }

    fn below(self, step: &str) -> Self {
        Self { path: format!("{step}{}", self.path), ..self }
    }
}

struct Values<'r> {
    registry: &'r Registry,
    /// Whether the values are literals of a document, not JSON.
    are_literals: bool,
}

impl Values<'_> {
    fn check_defaults(&self, operation: &OperationDefinition) -> ServerResult<()> {
        for Positioned { node: definition, .. } in &operation.variable_definitions {
            let Some(default) = &definition.default_value else { continue };
            let (name, ty) = (&definition.name.node, definition.var_type.to_string());
            let value = default.node.clone().into_value();
            self.check(&ty, &value).map_err(|Wrong { path, problem }| {
                let message = format!("The default of the variable `${name}{path}` {problem}");
                ServerError::new(message, Some(default.pos))
            })?;
        }
        Ok(())
    }

    fn check(&self, ty: &str, value: &Value) -> Result<(), Wrong> {
        match (MetaTypeName::create(ty), value) {
            (MetaTypeName::NonNull(inner), Value::Null) => {
                Err(Wrong::mismatch(ty, value, scalar_hint(inner, value)))
            }
            (_, Value::Variable(_) | Value::Null) => Ok(()),
            (MetaTypeName::List(item), Value::List(values)) => {
                values.iter().enumerate().try_for_each(|(index, value)| {
                    self.check(item, value).map_err(|wrong| wrong.below(&format!("[{index}]")))
                })
            }
            // One value in the place of a list is a list of one.
            (MetaTypeName::NonNull(inner) | MetaTypeName::List(inner), _) => {
                self.check(inner, value)
            }
            (MetaTypeName::Named(name), _) => self.check_named(name, value),
        }
    }

    fn check_named(&self, ty: &str, value: &Value) -> Result<(), Wrong> {
        match self.registry.types.get(ty) {
            Some(MetaType::Enum { enum_values, .. }) => self.check_enum(ty, enum_values, value),
            Some(MetaType::InputObject { input_fields, oneof, .. }) => {
                self.check_object(ty, input_fields, value)?;
                check_one_of(*oneof, value)
            }
            Some(MetaType::Scalar { is_valid, .. }) => {
                let accepts =
                    |value: &ConstValue| is_valid.as_ref().is_none_or(|is_valid| is_valid(value));
                if self.is_scalar(ty, value, accepts) {
                    return Ok(());
                }
                Err(Wrong::mismatch(ty, value, scalar_hint(ty, value)))
            }
            _ => Ok(()),
        }
    }

    fn is_scalar(&self, ty: &str, value: &Value, accepts: impl Fn(&ConstValue) -> bool) -> bool {
        match (ty, value) {
            ("Int", Value::Number(number)) => {
                number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
            }
            ("ID", Value::Number(number)) => number.is_i64(),
            ("Float", Value::Number(_))
            | ("ID" | "String", Value::String(_))
            | ("Boolean", Value::Boolean(_)) => true,
            ("Int" | "Float" | "String" | "Boolean" | "ID", _) => false,
            ("Date", _) => parsed::<Date>(value).is_some(),
            ("DateTime", _) => parsed(value).is_some_and(has_four_digit_year),
            ("Upload", _) => !self.are_literals && parsed::<Upload>(value).is_some(),
            _ => value.clone().into_const().is_none_or(|value| accepts(&value)),
        }
    }

    fn check_enum(
        &self,
        ty: &str,
        known: &IndexMap<String, MetaEnumValue>,
        value: &Value,
    ) -> Result<(), Wrong> {
        let name = match value {
            Value::Enum(name) => name.as_str(),
            Value::String(_) if self.are_literals => {
                return Err(Wrong::mismatch(ty, value, "Write it without quotes."));
            }
            Value::String(name) => name,
            _ => return Err(Wrong::mismatch(ty, value, "")),
        };
        if known.contains_key(name) {
            return Ok(());
        }
        let names = known.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
        Err(Wrong::mismatch(ty, value, &format!("Its values are `{names}`.")))
    }

    fn check_object(
        &self,
        ty: &str,
        known: &IndexMap<String, MetaInputValue>,
        value: &Value,
    ) -> Result<(), Wrong> {
        let Value::Object(fields) = value else { return Err(Wrong::mismatch(ty, value, "")) };
        for (name, value) in fields {
            let Some(field) = known.get(name.as_str()) else {
                let name = shorten(name);
                let problem = format!("has a field `{name}`, which the type `{ty}` does not have.");
                return Err(Wrong::new(problem));
            };
            self.check(&field.ty, value).map_err(|wrong| wrong.below(&format!(".{name}")))?;
        }
        let missing = known.values().find(|field| {
            field.ty.ends_with('!')
                && field.default_value.is_none()
                && !fields.contains_key(field.name.as_str())
        });
        missing.map_or(Ok(()), |field| {
            let (name, ty) = (&field.name, &field.ty);
            Err(Wrong::new(format!("lacks the field `{name}` of type `{ty}`.")))
        })
    }
}

fn check_one_of(is_one_of: bool, value: &Value) -> Result<(), Wrong> {
    let Value::Object(fields) = value else { return Ok(()) };
    if !is_one_of || fields.len() == 1 && !fields.values().any(|value| *value == Value::Null) {
        return Ok(());
    }
    Err(Wrong::new("must have exactly one field, which is not null.".into()))
}

fn parsed<T: ScalarType>(value: &Value) -> Option<T> {
    T::parse(value.clone().into_const()?).ok()
}

/// What to send instead of a value that a scalar does not accept.
fn scalar_hint(ty: &str, value: &Value) -> &'static str {
    match (ty, value) {
        ("Int", Value::Number(_)) => "An `Int` is a whole number from -2147483648 to 2147483647.",
        ("Date", _) => "Send a day of the calendar, like 2026-01-31.",
        ("DateTime", _) => "Send an instant with a year of four digits, like 2026-01-31T12:00:00Z.",
        ("Upload", _) => NOT_A_FILE,
        _ => "",
    }
}

/// Returns the kind of a value, and its beginning unless it is a list or an object.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Number(number) => format!("the number {}", shorten(&number.to_string())),
        Value::String(text) => format!("the string {:?}", shorten(text)),
        Value::Boolean(boolean) => format!("the Boolean {boolean}"),
        Value::Enum(name) => format!("the name `{}`", shorten(name)),
        Value::List(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::Binary(_) => "bytes".into(),
        Value::Variable(name) => format!("the variable `${name}`"),
    }
}

fn shorten(text: &str) -> String {
    let mut short = text.chars().take(MAX_QUOTE).collect::<String>();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;
    use crate::graphql::types;

    const RANGE: &str = "An `Int` is a whole number from -2147483648 to 2147483647.";

    fn literal(text: &str) -> Result<(), String> {
        check(&types(), &parse_query(text).unwrap()).map_err(|error| error.message)
    }

    /// Checks the value of the variable `v` of a type.
    fn variable(ty: &str, value: serde_json::Value) -> Result<(), String> {
        let document = parse_query(format!("query($v: {ty}) {{ viewer {{ id }} }}")).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let mut variables = Variables::from_json(json!({ "v": value }));
        write_whole_numbers(&mut variables);
        check_variables(&types(), &operation.node, &variables).map_err(|error| error.message)
    }

    #[test]
    fn literals_of_the_types_of_their_places_pass() {
        for text in [
            "{ tickets(first: 5, after: null, filter: { status: [CLOSED], isUnread: true }) { id } }",
            "{ tickets(filter: { status: CLOSED, assigneeId: 5, waitingSince: \"2026-01-31T12:00:00Z\" }) { id } }",
            "{ nodes(ids: \"x\") { id } supportFigures(from: \"2026-01-01\", to: \"2026-01-31\") { x } }",
            "query($n: Int = 5, $f: TicketFilterInput = { status: [] }) { viewer { id } }",
            "query($s: [TicketStatus!]) { tickets(filter: { status: $s, text: \"CLOSED\" }) { id } }",
            "mutation($a: Upload!) { createTicket(input: { categoryId: 1, summary: \"s\", description: \"d\", attachments: [$a] }) { x } }",
            "{ unknown(x: 1) tickets(unknown: 1) { id } }",
            "{ tickets(first: -2147483648, last: 2147483647) { id } }",
        ] {
            assert_eq!(literal(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_literal_of_another_type_is_refused_with_its_place() {
        let expects = |ty, found| format!("must be of type `{ty}`, but is {found}.");
        for (arguments, place, problem) in [
            ("first: \"5\"", "first", expects("Int", "the string \"5\"")),
            ("first: 5.0", "first", format!("{} {RANGE}", expects("Int", "the number 5.0"))),
            (
                "first: 2147483648",
                "first",
                format!("{} {RANGE}", expects("Int", "the number 2147483648")),
            ),
            ("first: FIVE", "first", expects("Int", "the name `FIVE`")),
            ("first: [5]", "first", expects("Int", "a list")),
            ("after: 5", "after", expects("String", "the number 5")),
            ("filter: \"x\"", "filter", expects("TicketFilterInput", "the string \"x\"")),
            ("filter: [{}]", "filter", expects("TicketFilterInput", "a list")),
            (
                "filter: { isUnread: \"true\" }",
                "filter.isUnread",
                expects("Boolean", "the string \"true\""),
            ),
            ("filter: { assigneeId: 1.5 }", "filter.assigneeId", expects("ID", "the number 1.5")),
            (
                "filter: { status: [CLOSED, \"CLOSED\"] }",
                "filter.status[1]",
                expects("TicketStatus", "the string \"CLOSED\"") + " Write it without quotes.",
            ),
            ("filter: { status: [null] }", "filter.status[0]", expects("TicketStatus!", "null")),
            (
                "filter: { waitingSince: \"today\" }",
                "filter.waitingSince",
                expects("DateTime", "the string \"today\"")
                    + " Send an instant with a year of four digits, like 2026-01-31T12:00:00Z.",
            ),
            (
                "filter: { query: 1 }",
                "filter",
                "has a field `query`, which the type `TicketFilterInput` does not have.".into(),
            ),
            (
                "orderBy: {}",
                "orderBy",
                "lacks the field `field` of type `TicketOrderField!`.".into(),
            ),
        ] {
            let text =
                format!("{{ ...F }} fragment F on Query {{ tickets({arguments}) {{ id }} }}");
            let expected = format!("The argument `{place}` of `tickets` {problem}");
            assert_eq!(literal(&text), Err(expected));
        }
    }

    #[test]
    fn defaults_files_dates_and_enums_are_checked_too() {
        for (text, expected) in [
            (
                "query($f: TicketFilterInput = { status: [\"CLOSED\"] }) { viewer { id } }",
                "The default of the variable `$f.status[0]` must be of type `TicketStatus`",
            ),
            (
                "mutation { addComment(input: { ticketId: 1, body: \"b\", attachments: [\"upload:0199a000-0000-7000-8000-000000000001\"] }) { x } }",
                NOT_A_FILE,
            ),
            (
                "{ supportFigures(from: \"2026-02-30\", to: \"2026-03-01\") { x } }",
                "like 2026-01-31",
            ),
            (
                "mutation { createAccount(input: { email: \"\", name: \"\", role: AGENT, locale: FR }) { x } }",
                "but is the name `FR`. Its values are `EN`, `RU`.",
            ),
        ] {
            let found = literal(text).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn values_of_the_types_of_their_variables_pass() {
        let upload = "upload:0199a000-0000-7000-8000-000000000001";
        for (ty, value) in [
            ("Int!", json!(-2_147_483_648_i64)),
            ("[Int!]", json!([1.0, -0.0, 1e2, -1e2])),
            ("TicketFilterInput", json!({ "assigneeId": 5.0 })),
            ("Float", json!(1)),
            ("ID!", json!(5)),
            ("[ID!]", json!("x")),
            ("[[Int]]", json!(5)),
            ("String", json!(null)),
            ("Boolean", json!(false)),
            ("TicketStatus!", json!("CLOSED")),
            ("TicketFilterInput!", json!({ "status": "CLOSED", "text": null })),
            ("Date", json!("2026-01-31")),
            ("DateTime", json!("0001-01-01T00:00:00Z")),
            ("DateTime", json!("9999-12-31T23:59:59.999999Z")),
            ("[Upload!]!", json!([upload])),
            ("Unknown", json!(1)),
        ] {
            assert_eq!(variable(ty, value.clone()), Ok(()), "{ty}: {value}");
        }
    }

    #[test]
    fn a_value_of_another_type_than_its_variable_is_refused_with_its_place() {
        let long = "x".repeat(60);
        let expects = |ty, found| format!("must be of type `{ty}`, but is {found}");
        for (ty, value, place, problem) in [
            ("Int", json!(2_147_483_648.0), "", expects("Int", "the number 2147483648. An")),
            ("ID", json!(1e300), "", expects("ID", "the number 1e")),
            ("Int", json!(1.5), "", expects("Int", "the number 1.5")),
            ("Int", json!(1e300), "", expects("Int", "the number 1e")),
            ("Int", json!("1"), "", expects("Int", "the string \"1\"")),
            ("Int!", json!(null), "", expects("Int!", "null.")),
            ("ID", json!(true), "", expects("ID", "the Boolean true.")),
            ("String", json!({ "a": 1 }), "", expects("String", "an object.")),
            ("[Int!]", json!([1, null]), "[1]", expects("Int!", "null.")),
            ("TicketStatus", json!("OPENED"), "", expects("TicketStatus", "the string")),
            ("TicketStatus", json!(1), "", expects("TicketStatus", "the number 1.")),
            (
                "TicketFilterInput",
                json!({ "status": ["CLOSED", 5] }),
                ".status[1]",
                expects("TicketStatus", "the number 5."),
            ),
            ("TicketFilterInput", json!([{}]), "", expects("TicketFilterInput", "a list.")),
            ("TicketFilterInput", json!({ "query": 1 }), "", "has a field `query`".into()),
            ("TicketOrder", json!({ "direction": "DESC" }), "", "lacks the field `field`".into()),
            (
                "DateTime",
                json!("+12026-01-31T12:00:00Z"),
                "",
                expects("DateTime", "the string \"+12026-01-31T12:00:00Z\". Send an instant"),
            ),
            (
                "TicketFilterInput",
                json!({ "waitingSince": "9999-12-31T23:59:59-01:00" }),
                ".waitingSince",
                expects("DateTime", "the string"),
            ),
            ("Upload", json!("x"), "", expects("Upload", "the string \"x\". An `Upload`")),
            (
                "Boolean",
                json!(long),
                "",
                expects("Boolean", &format!("the string \"{}…\".", "x".repeat(50))),
            ),
        ] {
            let expected = format!("The variable `$v{place}` {problem}");
            let found = variable(ty, value).unwrap_err();
            assert!(found.starts_with(&expected), "{found}");
        }
    }
}
