//! Limits on documents, checked on every transport before anything expensive runs. The parser
//! recurses for each bracket and could overflow the stack; validation visits a fragment as
//! often as it is spread. Both are bounded here, in linear time.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Pos, Positioned, Request, ServerError, Value, Variables,
    parser::types::{
        ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    },
};

use super::{
    documents::Documents,
    parser::{self, Kind, Token, Tokens},
};
use crate::graphql::{requested_operation, with_document, write_whole_numbers};

/// How deeply brackets of any kind may nest, and selections with all fragments expanded. What reads a
/// document recurses for each level.
const MAX_NESTING: usize = 100;
/// How many tokens a document may have.
const MAX_TOKENS: usize = 10_000;
/// The longest name, in bytes. Messages repeat names.
const MAX_NAME: usize = 255;
/// How many operations times how many uses of variables a document may have. Each operation is validated
/// with all fragments that it spreads.
const MAX_VARIABLE_VISITS: usize = 50_000;
/// How many fields a document may have, counting each fragment as often as it is spread.
const MAX_SELECTIONS: usize = 5_000;
/// How many fields a mutation may have at its root. Each may cost a password hash.
const MAX_MUTATION_ROOTS: usize = 10;

/// Parses and checks a request's document, in which a selection set may select one field under at
/// most `max_aliases` names. A document that is known was checked before. An empty name of the
/// operation is none. Returns the type of the requested operation, or `None` if the operation is unknown
/// or ambiguous.
///
/// # Errors
/// The document has too many brackets, tokens, fields or aliases or cannot be parsed; a required
/// variable has no value.
pub fn validate_document(
    request: &mut Request,
    documents: &Documents,
    max_aliases: usize,
) -> Result<Option<OperationType>, ServerError> {
    match documents.get(&request.query) {
        Some(known) => request.set_parsed_query(known.parsed.clone()),
        None => parse(request, documents, max_aliases)?,
    }
    write_whole_numbers(&mut request.variables);
    request.operation_name.take_if(|name| name.is_empty());
    with_document(request, |document, name, variables| requested_type(document, name, variables))?
}

fn parse(
    request: &mut Request,
    documents: &Documents,
    max_aliases: usize,
) -> Result<(), ServerError> {
    let tokens = scan(&request.query)?;
    let document = parser::parse(&tokens)?;
    let variables = tokens.iter().filter(|token| token.is("$")).count();
    if document.operations.iter().count().saturating_mul(variables) > MAX_VARIABLE_VISITS {
        let message =
            "The document has too many operations that use variables. Send fewer at a time.";
        return Err(error(message.into()));
    }
    measure(&document)?;
    for (_, operation) in document.operations.iter() {
        let sets = vec![&operation.node.selection_set.node];
        check_aliases(&document, sets, max_aliases).map_err(error)?;
    }
    documents.add(&request.query, &document);
    request.set_parsed_query(document);
    Ok(())
}

/// Returns the type of the requested operation once its variables are checked.
fn requested_type(
    document: &ExecutableDocument,
    name: Option<&str>,
    variables: &Variables,
) -> Result<Option<OperationType>, ServerError> {
    let operation = requested_operation(document, name);
    if let Some(operation) = operation {
        check_variables(operation, variables)?;
    }
    Ok(operation.map(|operation| operation.ty))
}

/// Checks that every required variable has a value: otherwise nothing may be executed
/// (GraphQL specification, §6.1.2).
fn check_variables(
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<(), ServerError> {
    for definition in &operation.variable_definitions {
        let Positioned { node, pos } = definition;
        let missing = match variables.get(&node.name.node) {
            Some(value) => *value == Value::Null,
            None => node.default_value.is_none(),
        };
        if missing && !node.var_type.node.nullable {
            let message =
                format!("The variable `${}` of type `{}` needs a value.", node.name, node.var_type);
            return Err(ServerError::new(message, Some(*pos)));
        }
    }
    Ok(())
}

fn error(message: String) -> ServerError {
    ServerError::new(message, None)
}

/// Returns the tokens of a document, once their number and the depth of brackets are checked.
fn scan(document: &str) -> Result<Vec<Token<'_>>, ServerError> {
    let (mut tokens, mut depth) = (Vec::new(), 0_usize);
    for token in Tokens::of(document) {
        let token = token?;
        if ["(", "[", "{"].iter().any(|bracket| token.is(bracket)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|bracket| token.is(bracket)) {
            depth = depth.saturating_sub(1);
        }
        if depth > MAX_NESTING {
            let message =
                format!("The document nests brackets more than {MAX_NESTING} levels deep.");
            return Err(ServerError::new(message, Some(token.pos)));
        }
        if token.kind == Kind::Name && token.text.len() > MAX_NAME {
            let message = format!("A name in the document is longer than {MAX_NAME} bytes.");
            return Err(ServerError::new(message, Some(token.pos)));
        }
        if tokens.len() > MAX_TOKENS {
            let message = format!(
                "The document has more than {MAX_TOKENS} tokens. Pass large values as variables."
            );
            return Err(ServerError::new(message, Some(token.pos)));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Counts fields, each fragment as often as it is spread, but visits each fragment once.
fn measure(document: &ExecutableDocument) -> Result<(), ServerError> {
    let mut sizes = Sizes { document, known: HashMap::new() };
    let mut total = 0_usize;
    for (_, operation) in document.operations.iter() {
        total = total.saturating_add(sizes.of(&operation.node.selection_set.node, 0)?.fields);
    }
    for (name, fragment) in &document.fragments {
        total = total.saturating_add(sizes.of_fragment(name, fragment.pos, 0)?.fields);
    }
    if total > MAX_SELECTIONS {
        return Err(error(format!(
            "The document has more than {MAX_SELECTIONS} fields, counting each fragment as often as it is spread."
        )));
    }
    document.operations.iter().try_for_each(|(_, operation)| check_root(document, operation))
}

/// Checks the selections at an operation's root. Call it only after the document's size was checked.
fn check_root(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
) -> Result<(), ServerError> {
    let Positioned { node: OperationDefinition { ty, selection_set, .. }, pos } = operation;
    let mut roots = Vec::new();
    add_roots(document, &selection_set.node, &mut roots);
    let fields = roots.iter().filter_map(|root| match root {
        Selection::Field(field) => Some(&field.node.response_key().node),
        _ => None,
    });
    let (kind, fields, max) = match ty {
        OperationType::Query => return Ok(()),
        // As often as they are written, though those with the same name are executed once.
        OperationType::Mutation => ("mutation", fields.count(), MAX_MUTATION_ROOTS),
        OperationType::Subscription => {
            check_conditions(&roots)?;
            ("subscription", fields.collect::<HashSet<_>>().len(), 1)
        }
    };
    if fields > max {
        let plural = if max == 1 { "field" } else { "fields" };
        let message =
            format!("A {kind} may have at most {max} {plural} at its root: this one has {fields}.");
        return Err(ServerError::new(message, Some(*pos)));
    }
    Ok(())
}

/// Checks that no selection at the root of a subscription has a condition (GraphQL specification,
/// §5.2.4.1 and `CollectSubscriptionFields`).
fn check_conditions(roots: &[&Selection]) -> Result<(), ServerError> {
    let directives = roots.iter().flat_map(|root| root.directives());
    for Positioned { node, pos } in directives {
        if matches!(node.name.node.as_str(), "skip" | "include") {
            let message = "The selections at the root of a subscription cannot have `@skip` or \
                           `@include`.";
            return Err(ServerError::new(message, Some(*pos)));
        }
    }
    Ok(())
}

/// Checks under how many names one field is selected in the selection sets of one object, and in
/// those of the objects below it. Visits each field as often as it is spread: call it only after
/// the document's size was checked.
fn check_aliases(
    document: &ExecutableDocument,
    sets: Vec<&SelectionSet>,
    max: usize,
) -> Result<(), String> {
    // The selection sets of fields with the same name in the response are merged.
    let mut names = HashMap::<&Name, HashSet<&Name>>::new();
    let mut below = HashMap::<&Name, Vec<&SelectionSet>>::new();
    let mut pending = sets;
    while let Some(set) = pending.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let key = &field.node.response_key().node;
                    let used = names.entry(&field.node.name.node).or_default();
                    used.insert(key);
                    if used.len() > max {
                        return Err(format!(
                            "The field `{}` is selected under more than {max} names in one \
                             selection set. Send several requests.",
                            field.node.name
                        ));
                    }
                    if !field.node.selection_set.node.items.is_empty() {
                        below.entry(key).or_default().push(&field.node.selection_set.node);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    pending.push(&fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = document.fragments.get(&spread.node.fragment_name.node);
                    pending.extend(fragment.map(|fragment| &fragment.node.selection_set.node));
                }
            }
        }
    }
    below.into_values().try_for_each(|sets| check_aliases(document, sets, max))
}

/// Adds the selections of an operation's root, and those of its fragments as often as they are
/// spread.
fn add_roots<'d>(
    document: &'d ExecutableDocument,
    set: &'d SelectionSet,
    roots: &mut Vec<&'d Selection>,
) {
    for Positioned { node, .. } in &set.items {
        roots.push(node);
        match node {
            Selection::Field(_) => {}
            Selection::InlineFragment(fragment) => {
                add_roots(document, &fragment.node.selection_set.node, roots);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    add_roots(document, &fragment.node.selection_set.node, roots);
                }
            }
        }
    }
}

/// The size of a selection set, with all fragments expanded.
#[derive(Clone, Copy, Default)]
struct Size {
    /// How many fields, inline fragments and spreads it has.
    fields: usize,
    /// How many levels of selection sets it has.
    levels: usize,
}

/// The sizes of fragments.
struct Sizes<'d> {
    document: &'d ExecutableDocument,
    /// `None` while a fragment is being measured. Reached again, it spreads itself.
    known: HashMap<&'d Name, Option<Size>>,
}

impl<'d> Sizes<'d> {
    /// Returns the size of a selection set below this many levels.
    fn of(&mut self, set: &'d SelectionSet, above: usize) -> Result<Size, ServerError> {
        let mut size = Size::default();
        for Positioned { node, pos } in &set.items {
            check_levels(above + 1, *pos)?;
            let part = match node {
                Selection::Field(field) => self.of(&field.node.selection_set.node, above + 1)?,
                Selection::InlineFragment(fragment) => {
                    self.of(&fragment.node.selection_set.node, above + 1)?
                }
                Selection::FragmentSpread(spread) => {
                    self.of_fragment(&spread.node.fragment_name.node, *pos, above + 1)?
                }
            };
            size.fields = size.fields.saturating_add(part.fields).saturating_add(1);
            size.levels = size.levels.max(part.levels + 1);
        }
        Ok(size)
    }

    /// Returns the size of a fragment that is spread at a place, below this many levels.
    fn of_fragment(&mut self, name: &Name, pos: Pos, above: usize) -> Result<Size, ServerError> {
        // Validation reports unknown fragments.
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Size::default());
        };
        match self.known.get(name) {
            Some(Some(size)) => {
                check_levels(above + size.levels, pos)?;
                return Ok(*size);
            }
            Some(None) => {
                let message = format!("The fragment `{name}` spreads itself.");
                return Err(ServerError::new(message, Some(pos)));
            }
            None => {}
        }
        self.known.insert(name, None);
        let size = self.of(&fragment.node.selection_set.node, above)?;
        self.known.insert(name, Some(size));
        Ok(size)
    }
}

fn check_levels(levels: usize, pos: Pos) -> Result<(), ServerError> {
    if levels <= MAX_NESTING {
        return Ok(());
    }
    let message = format!(
        "The document nests selections more than {MAX_NESTING} levels deep, with those of fragments."
    );
    Err(ServerError::new(message, Some(pos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(query: &str) -> Result<Option<OperationType>, String> {
        validate_document(&mut Request::new(query), &Documents::default(), 50)
            .map_err(|error| error.message)
    }

    #[test]
    fn ordinary_documents_pass() {
        assert_eq!(validate("{ viewer { name } }"), Ok(Some(OperationType::Query)));
        assert_eq!(
            validate("mutation { signOut { signedOut } }"),
            Ok(Some(OperationType::Mutation))
        );
        let text = format!(r#"{{ ticket(number: "{}") {{ id }} }}"#, "(".repeat(1_000));
        assert!(validate(&text).is_ok());
        let block = format!(
            "# {}\n{{ a(b: \"\"\"{} \\\"\"\" {}\"\"\") }}",
            "{".repeat(500),
            "[".repeat(500),
            "(".repeat(500)
        );
        assert!(validate(&block).is_ok());
    }

    #[test]
    fn deeply_nested_brackets_are_rejected_before_parsing() {
        for bracket in ["{", "[", "(", "{a(b:["] {
            for query in [bracket.repeat(100_000), format!("{{ a(b: {}", bracket.repeat(100_000))] {
                assert!(validate(&query).unwrap_err().contains("nests brackets"));
            }
        }
        let after_string = format!("{{ a(b: \"\\\\\") {}", "{a".repeat(1_000));
        assert!(validate(&after_string).unwrap_err().contains("nests brackets"));
    }

    #[test]
    fn too_many_names_of_one_field_are_rejected() {
        let aliases = |from: usize, to: usize, field: &str| {
            (from..to).map(|n| format!("a{n}: {field} ")).collect::<String>()
        };
        let rejected = |query: &str| validate(query).unwrap_err().contains("under more than 50");
        assert!(validate(&format!("{{ viewer {{ {} }} }}", aliases(0, 50, "name"))).is_ok());
        assert!(rejected(&format!("{{ viewer {{ {} }} }}", aliases(0, 51, "name"))));
        // In fragments, and in selection sets that are merged.
        let (one, two) = (aliases(0, 30, "name"), aliases(30, 60, "name"));
        assert!(rejected(&format!("{{ viewer {{ ... {{ {one} }} {two} }} }}")));
        let spread = format!("{{ viewer {{ ...f {two} }} }} fragment f on Account {{ {one} }}");
        assert!(rejected(&spread));
        assert!(rejected(&format!("{{ viewer {{ {one} }} ... {{ viewer {{ {two} }} }} }}")));
        // Other names of other fields, and the same field of other objects.
        assert!(validate(&format!("{{ a: viewer {{ {one} }} b: viewer {{ {two} }} }}")).is_ok());
        let emails = aliases(60, 90, "email");
        assert!(validate(&format!("{{ viewer {{ {one} {emails} }} }}")).is_ok());
        // The same name again and again is one name.
        assert!(validate(&format!("{{ viewer {{ {} }} }}", "name ".repeat(200))).is_ok());
    }

    #[test]
    fn fragments_that_multiply_are_rejected() {
        let mut query = "{ ...f0 }".to_owned();
        for level in 0..20 {
            let next = level + 1;
            query += &format!(
                " fragment f{level} on Query {{ ...f{next} ...f{next} ...f{next} ...f{next} }}"
            );
        }
        query += " fragment f20 on Query { viewer { name } }";
        assert!(validate(&query).unwrap_err().contains("counting each fragment"));
    }

    #[test]
    fn fragments_that_spread_themselves_are_rejected() {
        let query = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        assert!(validate(query).unwrap_err().contains("spreads itself"));
    }

    #[test]
    fn a_long_chain_of_fragments_does_not_overflow_the_stack() {
        let chain = |length: usize, order: fn(usize, usize) -> usize| {
            let fragments = (0..length).map(|n| order(n, length)).map(|n| {
                let next = n + 1;
                format!("fragment f{n} on Query {{ ...f{next} }} ")
            });
            format!(
                "{{ ...f0 }} {} fragment f{length} on Query {{ __typename }}",
                fragments.collect::<String>()
            )
        };
        let forwards = |n, _| n;
        let backwards = |n, length| length - n - 1;
        for length in [100, 1_100] {
            for order in [forwards, backwards] {
                let error = validate(&chain(length, order)).unwrap_err();
                assert!(error.contains("100 levels deep"), "{error}");
            }
        }
        assert_eq!(validate(&chain(95, forwards)), Ok(Some(OperationType::Query)));
        // Fields below fragments count too.
        let nested = format!("{}{}", "{ a ".repeat(98), "} ".repeat(98));
        let two = format!("{{ ...f }} fragment f on Query {nested}");
        assert_eq!(validate(&two), Ok(Some(OperationType::Query)));
        let three = format!("{{ ... {{ ... {{ ...f }} }} }} fragment f on Query {nested}");
        assert!(validate(&three).unwrap_err().contains("100 levels deep"));
    }

    #[test]
    fn too_many_tokens_or_root_fields_are_rejected() {
        assert!(
            validate(&format!("{{ {} }}", "a ".repeat(10_001))).unwrap_err().contains("tokens")
        );
        let roots = (0..11).map(|n| format!("a{n}: signOut {{ signedOut }} "));
        let query = format!("mutation {{ {} }}", roots.collect::<String>());
        assert!(validate(&query).unwrap_err().contains("at its root"));
        let fields = query.strip_prefix("mutation ").unwrap();
        let spread = format!("mutation {{ ...f }} fragment f on Mutation {fields}");
        assert!(validate(&spread).unwrap_err().contains("at its root"));
        let two =
            "subscription { ... { a: inboxEvents { __typename } } b: inboxEvents { __typename } }";
        assert!(validate(two).unwrap_err().contains("at its root"));
        let merged = "subscription { inboxEvents { __typename } inboxEvents { __typename } }";
        assert_eq!(validate(merged), Ok(Some(OperationType::Subscription)));
        // A mutation counts as often as it is written.
        let merged = format!("mutation {{ {} }}", "signOut { signedOut } ".repeat(11));
        assert!(validate(&merged).unwrap_err().contains("at its root"));
    }

    #[test]
    fn the_root_of_a_subscription_has_no_conditions() {
        let live = |root: &str| validate(&format!("subscription($a: Boolean = true) {{ {root} }}"));
        for root in [
            "inboxEvents @include(if: $a) { __typename }",
            "inboxEvents @skip(if: false) { __typename }",
            "... @include(if: true) { inboxEvents { __typename } }",
            "... { inboxEvents @include(if: true) { __typename } }",
            "...f @skip(if: $a) } fragment f on Subscription { inboxEvents { __typename }",
            "...f } fragment f on Subscription { inboxEvents @skip(if: $a) { __typename }",
        ] {
            assert!(live(root).unwrap_err().contains("`@skip` or `@include`"), "{root}");
        }
        let below = "inboxEvents { __typename @include(if: $a) }";
        assert_eq!(live(below), Ok(Some(OperationType::Subscription)));
        let query = "{ viewer @include(if: true) { name } }";
        assert_eq!(validate(query), Ok(Some(OperationType::Query)));
    }
}
