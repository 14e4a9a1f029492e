//! A parser of documents, to the letter of the GraphQL specification of September 2025. The parser
//! of async-graphql accepts what the specification does not allow, such as `queryA{a}` and `query(){a}`,
//! and refuses some of what it allows, such as `$a: [ Int ]` and descriptions of operations. What is
//! parsed here are async-graphql's types.

mod strings;
mod tokens;

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned, ServerError, ServerResult,
    parser::types::{
        BaseType, Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition,
        FragmentSpread, InlineFragment, OperationDefinition, OperationType, Selection,
        SelectionSet, Type, TypeCondition, VariableDefinition,
    },
};
use async_graphql_value::{Number, Value, indexmap::IndexMap};

pub use tokens::{Kind, Token, Tokens};

/// How much of a token is quoted in a message, in characters.
const MAX_QUOTE: usize = 50;

/// Parses a document. The parser recurses for each bracket: the depth of brackets must be bounded.
///
/// # Errors
/// The document does not follow the grammar, or two operations or fragments have the same name.
pub fn parse(tokens: &[Token]) -> ServerResult<ExecutableDocument> {
    let mut parser = Parser { tokens, at: 0 };
    let mut definitions = Definitions::default();
    loop {
        parser.definition(&mut definitions)?;
        if parser.peek().kind == Kind::End {
            return definitions.document(parser.peek());
        }
    }
}

#[derive(Default)]
struct Definitions {
    /// The operation without a name.
    anonymous: Option<Positioned<OperationDefinition>>,
    operations: HashMap<Name, Positioned<OperationDefinition>>,
    fragments: HashMap<Name, Positioned<FragmentDefinition>>,
}

impl Definitions {
    fn add_operation(
        &mut self,
        name: Option<Name>,
        operation: Positioned<OperationDefinition>,
    ) -> ServerResult<()> {
        let pos = operation.pos;
        let (first, message) = match &name {
            None => (
                self.anonymous.replace(operation),
                "The document has two operations without a name. Name them.".to_owned(),
            ),
            Some(name) => (
                self.operations.insert(name.clone(), operation),
                format!("The document has two operations named `{name}`. Rename one of them."),
            ),
        };
        first.map_or(Ok(()), |first| Err(error_at(message, [first.pos, pos])))
    }

    fn add_fragment(
        &mut self,
        name: &Name,
        fragment: Positioned<FragmentDefinition>,
    ) -> ServerResult<()> {
        let pos = fragment.pos;
        let first = self.fragments.insert(name.clone(), fragment);
        let message = format!("The document has two fragments named `{name}`. Rename one of them.");
        first.map_or(Ok(()), |first| Err(error_at(message, [first.pos, pos])))
    }

    fn document(self, end: Token) -> ServerResult<ExecutableDocument> {
        let operations = match self.anonymous {
            None if self.operations.is_empty() => {
                return Err(error_at("The document has no operation. Add one.", [end.pos]));
            }
            None => DocumentOperations::Multiple(self.operations),
            Some(operation) if self.operations.is_empty() => DocumentOperations::Single(operation),
            Some(operation) => {
                let message = "An operation without a name must be the only one of its document. \
                               Name it.";
                return Err(error_at(message, [operation.pos]));
            }
        };
        Ok(ExecutableDocument { operations, fragments: self.fragments })
    }
}

struct Parser<'t, 'd> {
    /// The tokens of the document. The last is its end.
    tokens: &'t [Token<'d>],
    at: usize,
}

impl<'d> Parser<'_, 'd> {
    fn definition(&mut self, definitions: &mut Definitions) -> ServerResult<()> {
        let begin = self.peek();
        if begin.is("{") {
            let operation = self.operation(OperationType::Query)?;
            return definitions.add_operation(None, Positioned::new(operation, begin.pos));
        }
        self.description()?;
        let keyword = self.next();
        let ty = match (keyword.kind, keyword.text) {
            (Kind::Name, "query") => OperationType::Query,
            (Kind::Name, "mutation") => OperationType::Mutation,
            (Kind::Name, "subscription") => OperationType::Subscription,
            (Kind::Name, "fragment") => {
                let (name, fragment) = self.fragment()?;
                return definitions.add_fragment(&name, Positioned::new(fragment, keyword.pos));
            }
            _ => {
                return Err(unexpected(
                    keyword,
                    "`query`, `mutation`, `subscription` or `fragment`",
                ));
            }
        };
        let is_named = self.peek().kind == Kind::Name;
        let name = if is_named { Some(self.name("a name")?.node) } else { None };
        let operation = self.operation(ty)?;
        definitions.add_operation(name, Positioned::new(operation, keyword.pos))
    }

    /// Parses what follows the name of an operation.
    fn operation(&mut self, ty: OperationType) -> ServerResult<OperationDefinition> {
        let variable_definitions = if self.peek().is("(") {
            self.several(["(", ")"], "a variable", Self::variable_definition)?
        } else {
            Vec::new()
        };
        Ok(OperationDefinition {
            ty,
            variable_definitions,
            directives: self.directives()?,
            selection_set: self.selection_set()?,
        })
    }

    fn variable_definition(&mut self) -> ServerResult<Positioned<VariableDefinition>> {
        self.description()?;
        let pos = self.peek().pos;
        let name = self.variable()?;
        self.expect(":")?;
        let at = self.peek().pos;
        let var_type = Positioned::new(self.ty()?, at);
        let default_value = if self.skip("=") {
            let Positioned { node, pos } = self.value()?;
            let constant = node.into_const().ok_or_else(|| {
                let message = format!(
                    "The default of the variable `${name}` cannot contain variables. Write a \
                     value."
                );
                error_at(message, [pos])
            })?;
            Some(Positioned::new(constant, pos))
        } else {
            None
        };
        let directives = self.directives()?;
        let definition = VariableDefinition { name, var_type, directives, default_value };
        Ok(Positioned::new(definition, pos))
    }

    /// Parses what follows the keyword of a fragment.
    fn fragment(&mut self) -> ServerResult<(Name, FragmentDefinition)> {
        let name = self.name("the name of a fragment")?;
        if name.node == "on" {
            return Err(error_at("A fragment cannot be named `on`. Rename it.", [name.pos]));
        }
        let on = self.peek();
        let Some(type_condition) = self.type_condition()? else {
            return Err(unexpected(on, "`on` and a type"));
        };
        let directives = self.directives()?;
        let selection_set = self.selection_set()?;
        Ok((name.node, FragmentDefinition { type_condition, directives, selection_set }))
    }

    fn type_condition(&mut self) -> ServerResult<Option<Positioned<TypeCondition>>> {
        let on = self.peek();
        if (on.kind, on.text) != (Kind::Name, "on") {
            return Ok(None);
        }
        self.next();
        let condition = TypeCondition { on: self.name("the name of a type")? };
        Ok(Some(Positioned::new(condition, on.pos)))
    }

    fn selection_set(&mut self) -> ServerResult<Positioned<SelectionSet>> {
        let pos = self.peek().pos;
        let items = self.several(["{", "}"], "a field", Self::selection)?;
        Ok(Positioned::new(SelectionSet { items }, pos))
    }

    fn selection(&mut self) -> ServerResult<Positioned<Selection>> {
        let pos = self.peek().pos;
        let selection = if !self.skip("...") {
            Selection::Field(Positioned::new(self.field()?, pos))
        } else if self.peek().kind == Kind::Name && self.peek().text != "on" {
            let fragment_name = self.name("the name of a fragment")?;
            let spread = FragmentSpread { fragment_name, directives: self.directives()? };
            Selection::FragmentSpread(Positioned::new(spread, pos))
        } else {
            let fragment = InlineFragment {
                type_condition: self.type_condition()?,
                directives: self.directives()?,
                selection_set: self.selection_set()?,
            };
            Selection::InlineFragment(Positioned::new(fragment, pos))
        };
        Ok(Positioned::new(selection, pos))
    }

    fn field(&mut self) -> ServerResult<Field> {
        let first = self.name("a field")?;
        let (alias, name) =
            if self.skip(":") { (Some(first), self.name("a field")?) } else { (None, first) };
        let arguments = self.arguments()?;
        let directives = self.directives()?;
        let selection_set =
            if self.peek().is("{") { self.selection_set()? } else { Positioned::default() };
        Ok(Field { alias, name, arguments, directives, selection_set })
    }

    fn arguments(&mut self) -> ServerResult<Vec<(Positioned<Name>, Positioned<Value>)>> {
        if !self.peek().is("(") {
            return Ok(Vec::new());
        }
        self.several(["(", ")"], "an argument", |parser| {
            let name = parser.name("the name of an argument")?;
            parser.expect(":")?;
            Ok((name, parser.value()?))
        })
    }

    fn directives(&mut self) -> ServerResult<Vec<Positioned<Directive>>> {
        let mut directives = Vec::new();
        while self.peek().is("@") {
            let pos = self.next().pos;
            let name = self.name("the name of a directive")?;
            let directive = Directive { name, arguments: self.arguments()? };
            directives.push(Positioned::new(directive, pos));
        }
        Ok(directives)
    }

    fn ty(&mut self) -> ServerResult<Type> {
        let base = if self.skip("[") {
            let item = self.ty()?;
            self.expect("]")?;
            BaseType::List(Box::new(item))
        } else {
            BaseType::Named(self.name("a type")?.node)
        };
        Ok(Type { base, nullable: !self.skip("!") })
    }

    fn value(&mut self) -> ServerResult<Positioned<Value>> {
        let token = self.peek();
        let value = match token.kind {
            Kind::Punctuator if token.text == "$" => Value::Variable(self.variable()?.node),
            Kind::Punctuator if self.skip("[") => {
                let mut items = Vec::new();
                while !self.skip("]") {
                    items.push(self.value()?.node);
                }
                Value::List(items)
            }
            Kind::Punctuator if self.skip("{") => self.object()?,
            Kind::Punctuator | Kind::End => return Err(unexpected(token, "a value")),
            Kind::Name => match self.next().text {
                "null" => Value::Null,
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                name => Value::Enum(Name::new(name)),
            },
            Kind::Int | Kind::Float => number(self.next())?,
            Kind::String | Kind::BlockString => Value::String(string(self.next())?),
        };
        Ok(Positioned::new(value, token.pos))
    }

    /// Parses what follows the opening bracket of an input object.
    fn object(&mut self) -> ServerResult<Value> {
        let mut fields = IndexMap::new();
        while !self.skip("}") {
            let name = self.name("the name of a field")?;
            self.expect(":")?;
            if fields.insert(name.node.clone(), self.value()?.node).is_some() {
                let message = format!("An input object names the field `{name}` twice.");
                return Err(error_at(message, [name.pos]));
            }
        }
        Ok(Value::Object(fields))
    }

    fn variable(&mut self) -> ServerResult<Positioned<Name>> {
        self.expect("$")?;
        self.name("the name of a variable")
    }

    /// Skips a description, if there is one.
    fn description(&mut self) -> ServerResult<()> {
        match self.peek().kind {
            Kind::String | Kind::BlockString => string(self.next()).map(drop),
            _ => Ok(()),
        }
    }

    /// Parses one or more items between brackets.
    fn several<T>(
        &mut self,
        [open, close]: [&str; 2],
        what: &str,
        mut item: impl FnMut(&mut Self) -> ServerResult<T>,
    ) -> ServerResult<Vec<T>> {
        let begin = self.peek();
        self.expect(open)?;
        if self.peek().is(close) {
            let message =
                format!("`{open}{close}` is empty. Write {what} into it, or leave it out.");
            return Err(error_at(message, [begin.pos]));
        }
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn name(&mut self, what: &str) -> ServerResult<Positioned<Name>> {
        match self.next() {
            Token { kind: Kind::Name, text, pos } => Ok(Positioned::new(Name::new(text), pos)),
            other => Err(unexpected(other, what)),
        }
    }

    fn expect(&mut self, punctuator: &str) -> ServerResult<()> {
        let token = self.next();
        let found = token.is(punctuator).then_some(());
        found.ok_or_else(|| unexpected(token, &format!("`{punctuator}`")))
    }

    /// Skips a punctuator, and returns whether it was there.
    fn skip(&mut self, punctuator: &str) -> bool {
        let found = self.peek().is(punctuator);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Token<'d> {
        self.tokens[self.at]
    }

    /// Returns the next token and moves behind it, unless it is the end.
    fn next(&mut self) -> Token<'d> {
        let token = self.peek();
        self.at += usize::from(token.kind != Kind::End);
        token
    }
}

fn number(token: Token) -> ServerResult<Value> {
    let text = token.text;
    let int = match token.kind {
        Kind::Int => text.parse::<i64>().ok().map(Number::from),
        _ => None,
    };
    let number = int.or_else(|| Number::from_f64(text.parse().ok()?));
    let message = "A number is too large for a 64-bit float.";
    number.map(Value::Number).ok_or_else(|| error_at(message, [token.pos]))
}

fn string(token: Token) -> ServerResult<String> {
    let quotes = if token.kind == Kind::BlockString { 3 } else { 1 };
    let content = &token.text[quotes..token.text.len() - quotes];
    if token.kind == Kind::BlockString {
        return Ok(strings::block_string_value(content));
    }
    strings::string_value(content).map_err(|(place, message)| {
        let mut pos = token.pos;
        pos.column += quotes + content[..place].chars().count();
        error_at(message, [pos])
    })
}

fn unexpected(token: Token, expected: &str) -> ServerError {
    let found = match token.kind {
        Kind::End => "the document ends",
        Kind::String | Kind::BlockString => "there is a string",
        _ => &format!("there is `{}`", token.text.chars().take(MAX_QUOTE).collect::<String>()),
    };
    error_at(format!("Where {expected} is expected, {found}."), [token.pos])
}

fn error_at(message: impl Into<String>, places: impl IntoIterator<Item = Pos>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.locations.extend(places);
    error
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::Value as Json;

    use super::*;

    fn parsed(document: &str) -> ServerResult<ExecutableDocument> {
        parse(&Tokens::of(document).collect::<ServerResult<Vec<_>>>()?)
    }

    fn json(document: &ExecutableDocument) -> Json {
        serde_json::to_value(document).unwrap()
    }

    fn without_places(mut value: Json) -> Json {
        fn remove(value: &mut Json) {
            match value {
                Json::Object(fields) => {
                    fields.remove("pos");
                    fields.values_mut().for_each(remove);
                }
                Json::Array(items) => items.iter_mut().for_each(remove),
                _ => {}
            }
        }
        remove(&mut value);
        value
    }

    /// Returns the message and the places of the error in a document.
    fn refused(document: &str) -> (String, Vec<(usize, usize)>) {
        let error = parsed(document).expect_err(document);
        (error.message, error.locations.iter().map(|pos| (pos.line, pos.column)).collect())
    }

    #[test]
    fn a_document_is_parsed_with_its_places() {
        for document in [
            "{ a }",
            "query { a, b ,c }",
            "query A($a: Int, $b: [ID!]! = [1, \"x\"] $c: I = { d: { e: [null, true, RED, -1.5e3] } }) @f(g: $a) { h }",
            "mutation A { a } mutation B { a: b(c: $d e: \"\"\"\n  f\n\"\"\") @skip(if: true) @include(if: $g) }",
            "subscription on { a { ...c @d(e: 1) ... on F { g } ... @h { i } ... { j } ...once } }",
            "query query { mutation: query on: true null }\nfragment fragment on fragment { on }\r\n \
             fragment true on A @b { c(d: []) e(f: {}) }",
            "# é\n{\n\ta(b: \"\\u00e9\")\n\n  c # d\n }",
        ] {
            let expected = json(&parse_query(document).unwrap());
            assert_eq!(json(&parsed(document).unwrap()), expected, "{document}");
        }
    }

    #[test]
    fn what_the_parser_of_async_graphql_refuses_is_parsed() {
        for (document, plain) in [
            ("query($a: [ ID # b\n!\n]\t! , $c: I !) { d }", "query($a: [ID!]!, $c: I!) { d }"),
            (
                "{ ... on # a\n B { c } } fragment D on#\nE { f }",
                "{ ... on B { c } } fragment D on E { f }",
            ),
            ("{ a(b: -0, c: [-0]) }", "{ a(b: 0, c: [0]) }"),
            ("query($a: I = 1 @b) { c }", "query($a: I @b = 1) { c }"),
            (
                "{ a(b: \"\\u{1F600}\", c: \"\\uD83D\\uDE00\") }",
                "{ a(b: \"\u{1F600}\", c: \"\u{1F600}\") }",
            ),
            ("{ a(b: \"\"\"\\\"\"\"\"\"\") }", "{ a(b: \"\\\"\\\"\\\"\") }"),
            (
                "\"a\" query A(\"\"\"b\nc\"\"\" $a: S = \"d\" \"e\" $b: I) { f } \"g\" fragment H on I { j }",
                "query A($a: S = \"d\" $b: I) { f } fragment H on I { j }",
            ),
        ] {
            let expected = without_places(json(&parse_query(plain).unwrap()));
            assert_eq!(without_places(json(&parsed(document).unwrap())), expected, "{document}");
        }
        // A name that begins like a keyword.
        let document = json(&parsed("{ a(b: trueish, c: nullable) }").unwrap()).to_string();
        assert!(document.contains("trueish") && document.contains("nullable"), "{document}");
    }

    #[track_caller]
    fn assert_refused(cases: &[(&str, &str, usize)]) {
        for (document, message, column) in cases {
            let expected = ((*message).to_owned(), vec![(1, *column)]);
            assert_eq!(refused(document), expected, "{document}");
        }
    }

    #[test]
    fn empty_brackets_are_refused() {
        let variable = "`()` is empty. Write a variable into it, or leave it out.";
        let argument = "`()` is empty. Write an argument into it, or leave it out.";
        let field = "`{}` is empty. Write a field into it, or leave it out.";
        assert_refused(&[
            ("query(){a}", variable, 6),
            ("{a()}", argument, 3),
            ("{a @b()}", argument, 6),
            ("{}", field, 1),
            ("{a{...{}}}", field, 7),
        ]);
    }

    #[test]
    fn what_is_no_definition_is_refused() {
        for (document, found, column) in [
            ("queryA{a}", "there is `queryA`", 1),
            ("fragmentA on B{a}", "there is `fragmentA`", 1),
            ("", "the document ends", 1),
            ("{a} type B{c:D}", "there is `type`", 5),
            ("{a}}", "there is `}`", 4),
            ("\"a\" {b}", "there is `{`", 5),
            ("\"a\" \"b\" query{c}", "there is a string", 5),
        ] {
            let expected = format!(
                "Where `query`, `mutation`, `subscription` or `fragment` is expected, {found}."
            );
            assert_refused(&[(document, &expected, column)]);
        }
        let (message, _) = refused(&"a".repeat(60));
        assert!(message.ends_with(&format!("there is `{}`.", "a".repeat(50))), "{message}");
        assert_refused(&[
            ("fragment on on A{b}", "A fragment cannot be named `on`. Rename it.", 10),
            ("fragment A{b}", "Where `on` and a type is expected, there is `{`.", 11),
            ("fragment A onB{b}", "Where `on` and a type is expected, there is `onB`.", 12),
            ("fragment A on B{c}", "The document has no operation. Add one.", 19),
        ]);
    }

    #[test]
    fn what_the_grammar_does_not_allow_in_a_definition_is_refused() {
        let surrogate = "An escape in a string is one half of a surrogate pair. Send both halves, \
                         or the value of the character: for example \\u{1F600}.";
        let default = "The default of the variable `$a` cannot contain variables. Write a value.";
        assert_refused(&[
            ("{...on}", "Where the name of a type is expected, there is `}`.", 7),
            ("{a", "Where a field is expected, the document ends.", 3),
            ("{a:}", "Where a field is expected, there is `}`.", 4),
            ("{a &}", "Where a field is expected, there is `&`.", 4),
            ("{a @}", "Where the name of a directive is expected, there is `}`.", 5),
            ("{a(b)}", "Where `:` is expected, there is `)`.", 5),
            ("{a(b:)}", "Where a value is expected, there is `)`.", 6),
            ("{a(\"b\" c:1)}", "Where the name of an argument is expected, there is a string.", 4),
            ("{a(b:[1)}", "Where a value is expected, there is `)`.", 8),
            ("{a(b:{c})}", "Where `:` is expected, there is `}`.", 8),
            ("{a(b:{1:1})}", "Where the name of a field is expected, there is `1`.", 7),
            ("{a(b:{c:1,c:1})}", "An input object names the field `c` twice.", 11),
            ("{a(b:1e400)}", "A number is too large for a 64-bit float.", 6),
            ("{a(b:\"я\\uD83D\")}", surrogate, 8),
            ("\"\\uD83D\" query{a}", surrogate, 2),
            ("query($a:I=$b){c}", default, 12),
            ("query($a:I=[{b:$c}]){d}", default, 12),
            ("query($a:I \"b\"){c}", "Where `$` is expected, there is `)`.", 15),
            ("query($a:[I){b}", "Where `]` is expected, there is `)`.", 12),
            ("query($a:I!!){b}", "Where `$` is expected, there is `!`.", 12),
        ]);
    }

    #[test]
    fn names_of_operations_and_fragments_are_unique() {
        for (document, message, column) in [
            ("{a} {b}", "two operations without a name", 5),
            ("query{a} mutation{b}", "two operations without a name", 10),
            ("{a} query B{c}", "without a name must be the only one of its document", 1),
            ("query A{b} {c}", "without a name must be the only one of its document", 12),
            ("query A{a} mutation A{b}", "two operations named `A`", 12),
            ("{...A} fragment A on B{c} fragment A on B{c}", "two fragments named `A`", 27),
        ] {
            let (found, places) = refused(document);
            assert!(found.contains(message), "{document}: {found}");
            assert_eq!(places.last(), Some(&(1, column)), "{document}");
        }
    }

    #[test]
    fn no_part_of_a_document_makes_the_parser_panic() {
        let document = "\"a\" query A($b: [C!]! = [1, {d: \"\\u{e}é\"}] @f) { ... on G @h(i: $b) { j: k(l: \
                        \"\"\"\\\"\"\" m\"\"\", n: -0.5e+1) } ...o } fragment o on P { q } # r";
        assert!(parsed(document).is_ok());
        for (at, _) in document.char_indices() {
            let (begin, end) = document.split_at(at);
            let without = end.chars().skip(1).collect::<String>();
            for part in [begin, end, &format!("{begin}{without}"), &format!("{end}{begin}")] {
                drop(parsed(part));
            }
        }
    }
}
