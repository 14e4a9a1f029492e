//! Fields with the same name in the response (GraphQL specification, §5.3.2). async-graphql has a
//! rule for them, but does not look below fields and does not compare types.
//!
//! The specification compares fields in pairs. Here, fields of the same path in the response are
//! grouped first:
//!
//! - All of them must have the same shape, which needs one comparison for each field.
//! - Fields that can belong to the same object must call the same field with the same arguments.
//!   This depends on the types of the objects on the way to them, so fields with the same types are
//!   a group. Groups overlap if their types are equal or abstract on each level. Only overlapping
//!   groups are compared, once each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ptr,
};

use async_graphql::{
    Name, Positioned, ServerError, ServerResult,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
    registry::{MetaType, MetaTypeName, Registry},
};

use crate::graphql::operation::root_type;

/// Rejects a document whose fields cannot be merged into one response.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    for (_, operation) in document.operations.iter() {
        let Some(root) = root_type(registry, operation.node.ty) else { continue };
        let mut rule =
            Merging { registry, document, calls: Calls::default(), response_path: Vec::new() };
        let sets = vec![(root, &operation.node.selection_set.node)];
        rule.check(&[sets], &[Vec::new()])?;
    }
    Ok(())
}

/// The selection sets of a group of fields, each with the type of its object.
type Sets<'d> = Vec<(&'d str, &'d SelectionSet)>;

/// For each group, the groups that it overlaps with. A pair is in the list of one of its groups.
type Overlaps = Vec<Vec<usize>>;

/// The name of an object type, or `None` for an abstract type.
type ObjectType<'d> = Option<&'d str>;

/// A field in a selection set.
#[derive(Clone, Copy)]
struct Selected<'d> {
    field: &'d Positioned<Field>,
    ty: &'d str,
    /// Equal for the same field with the same arguments.
    call: usize,
}

/// Fields of the same path in the response whose parents have the same types on each level.
struct Group<'d> {
    first: Selected<'d>,
    below: Sets<'d>,
}

/// The fields of a path in the response.
struct Fields<'d> {
    first: Selected<'d>,
    groups: Vec<Group<'d>>,
    /// Positions in `groups`, by the group of the parents and the parents' type.
    by_parent: BTreeMap<usize, BTreeMap<ObjectType<'d>, usize>>,
}

struct Merging<'d> {
    registry: &'d Registry,
    document: &'d ExecutableDocument,
    calls: Calls<'d>,
    response_path: Vec<&'d str>,
}

impl<'d> Merging<'d> {
    /// Checks the selection sets of the groups of fields of one path.
    fn check(&mut self, groups: &[Sets<'d>], overlaps: &[Vec<usize>]) -> ServerResult<()> {
        let mut names = BTreeMap::new();
        for (group, sets) in groups.iter().enumerate() {
            let mut seen = HashSet::new();
            for (parent, set) in sets {
                self.collect((group, parent), set, &mut seen, &mut names)?;
            }
        }
        for (name, fields) in names {
            self.response_path.push(name);
            let overlaps = self.check_calls(&fields, overlaps)?;
            let below = fields.groups.into_iter().map(|group| group.below).collect::<Vec<_>>();
            if below.iter().any(|sets| !sets.is_empty()) {
                self.check(&below, &overlaps)?;
            }
            self.response_path.pop();
        }
        Ok(())
    }

    /// Adds the fields of a selection set by their names in the response. The fields of a fragment
    /// are the same each time that a group spreads it.
    fn collect(
        &mut self,
        (group, parent): (usize, &'d str),
        set: &'d SelectionSet,
        seen: &mut HashSet<&'d Name>,
        names: &mut BTreeMap<&'d str, Fields<'d>>,
    ) -> ServerResult<()> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.add((group, parent), field, names)?,
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(parent, |condition| &condition.node.on.node);
                    self.collect((group, on), &fragment.node.selection_set.node, seen, names)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name);
                    let Some(fragment) = fragment.filter(|_| seen.insert(name)) else { continue };
                    let on = &fragment.node.type_condition.node.on.node;
                    self.collect((group, on), &fragment.node.selection_set.node, seen, names)?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        (parent_group, parent): (usize, &'d str),
        field: &'d Positioned<Field>,
        names: &mut BTreeMap<&'d str, Fields<'d>>,
    ) -> ServerResult<()> {
        let Some(ty) = self.type_of(parent, &field.node.name.node) else { return Ok(()) };
        let selected = Selected { field, ty, call: self.calls.id(&field.node) };
        let name = field.node.response_key().node.as_str();
        let fields = names.entry(name).or_insert_with(|| Fields::new(selected));
        let group = fields.group(parent_group, self.object_type(parent), selected);
        let set = &field.node.selection_set.node;
        if !set.items.is_empty() {
            group.below.push((MetaTypeName::concrete_typename(ty), set));
        }
        let first = group.first;
        self.response_path.push(name);
        self.same_call(first, selected)?;
        self.same_shape(fields.first, selected)?;
        self.response_path.pop();
        Ok(())
    }

    /// Compares the groups of fields that overlap, given which of their parents' groups overlap.
    /// Returns the overlaps that were found.
    fn check_calls(&self, fields: &Fields<'d>, parents: &[Vec<usize>]) -> ServerResult<Overlaps> {
        let mut overlaps = vec![Vec::new(); fields.groups.len()];
        let mut compare = |one: usize, other: usize| {
            overlaps[one].push(other);
            self.same_call(fields.groups[one].first, fields.groups[other].first)
        };
        for (parent, groups) in &fields.by_parent {
            if let Some(any) = groups.get(&None) {
                let mut objects = groups.values().filter(|group| *group != any);
                objects.try_for_each(|group| compare(*any, *group))?;
            }
            for others in parents[*parent].iter().filter_map(|other| fields.by_parent.get(other)) {
                for (object, group) in groups {
                    let same = others.get(object).filter(|_| object.is_some());
                    let any = others.get(&None).filter(|_| object.is_some());
                    let all = object.is_none().then(|| others.values()).into_iter().flatten();
                    same.into_iter()
                        .chain(any)
                        .chain(all)
                        .try_for_each(|other| compare(*group, *other))?;
                }
            }
        }
        Ok(overlaps)
    }

    /// Returns the type of a field, or `None` if the schema does not know it.
    fn type_of(&self, parent: &str, name: &str) -> Option<&'d str> {
        let parent = self.registry.types.get(parent)?;
        if name == "__typename" {
            return Some("String!");
        }
        Some(&parent.field_by_name(name)?.ty)
    }

    fn object_type(&self, name: &'d str) -> ObjectType<'d> {
        let ty = self.registry.types.get(name);
        ty.is_some_and(|ty| matches!(ty, MetaType::Object { .. })).then_some(name)
    }

    fn same_call(&self, one: Selected<'d>, other: Selected<'d>) -> ServerResult<()> {
        if one.call == other.call {
            return Ok(());
        }
        let names = [one, other].map(|selected| &selected.field.node.name.node);
        Err(self.conflict(
            [one, other],
            &if names[0] == names[1] {
                format!("`{}` with two different lists of arguments", names[0])
            } else {
                format!("both `{}` and `{}`", names[0], names[1])
            },
        ))
    }

    /// Compares the types of fields, of which the fields below may differ (`SameResponseShape`).
    fn same_shape(&self, one: Selected<'d>, other: Selected<'d>) -> ServerResult<()> {
        let types = [one, other].map(|selected| selected.ty);
        let [(item, around), (other_item, other_around)] = types.map(split_type);
        let are_composite = || [item, other_item].iter().all(|name| self.is_composite(name));
        if around == other_around && (item == other_item || are_composite()) {
            return Ok(());
        }
        let [name, other_name] = [one, other].map(|selected| &selected.field.node.name.node);
        Err(self.conflict(
            [one, other],
            &format!(
                "both `{name}` of type `{}` and `{other_name}` of type `{}`",
                types[0], types[1]
            ),
        ))
    }

    fn is_composite(&self, name: &str) -> bool {
        self.registry.types.get(name).is_some_and(MetaType::is_composite)
    }

    fn conflict(&self, [one, other]: [Selected<'d>; 2], what: &str) -> ServerError {
        let message = format!(
            "`{}` in the response would be {what}. Select one of them under an alias.",
            self.response_path.join(".")
        );
        let mut error = ServerError::new(message, Some(one.field.pos));
        error.locations.push(other.field.pos);
        error
    }
}

impl<'d> Fields<'d> {
    fn new(first: Selected<'d>) -> Self {
        Self { first, groups: Vec::new(), by_parent: BTreeMap::new() }
    }

    /// Returns the group of a field, which is new if there is none yet.
    fn group(
        &mut self,
        parent_group: usize,
        parent: ObjectType<'d>,
        selected: Selected<'d>,
    ) -> &mut Group<'d> {
        let by_type = self.by_parent.entry(parent_group).or_default();
        let index = *by_type.entry(parent).or_insert(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(Group { first: selected, below: Vec::new() });
        }
        &mut self.groups[index]
    }
}

/// Splits a type, such as `[Ticket!]!`, into its name and the text around it.
fn split_type(ty: &str) -> (&str, (&str, &str)) {
    let name = MetaTypeName::concrete_typename(ty);
    (name, ty.split_once(name).unwrap_or_default())
}

/// Numbers fields, such that the same field with the same arguments has the same number. Long
/// arguments are compared once, not once for each time that their fragment is spread.
#[derive(Default)]
struct Calls<'d> {
    known: HashMap<*const Field, usize>,
    distinct: HashMap<&'d Name, Vec<(&'d Field, usize)>>,
}

impl<'d> Calls<'d> {
    fn id(&mut self, field: &'d Field) -> usize {
        let next = self.known.len();
        *self.known.entry(ptr::from_ref(field)).or_insert_with(|| {
            let calls = self.distinct.entry(&field.name.node).or_default();
            let same = calls.iter().find(|(other, _)| same_arguments(field, other));
            if let Some((_, id)) = same {
                return *id;
            }
            calls.push((field, next));
            next
        })
    }
}

fn same_arguments(one: &Field, other: &Field) -> bool {
    one.arguments.len() == other.arguments.len()
        && one.arguments.iter().all(|(name, value)| {
            other.get_argument(&name.node).is_some_and(|other| other.node == value.node)
        })
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;
    use crate::graphql::types;

    fn conflict(text: &str) -> Option<String> {
        let document = parse_query(text).unwrap();
        check(&types(), &document).err().map(|error| error.message)
    }

    #[track_caller]
    fn assert_conflict(text: &str, message: &str) {
        let expected = format!("{message}. Select one of them under an alias.");
        assert_eq!(conflict(text).as_deref(), Some(&*expected), "{text}");
    }

    #[test]
    fn one_name_for_two_fields_of_an_object_is_a_conflict() {
        let both = "`viewer.name` in the response would be both `name` and `email`";
        for text in [
            "{ viewer { name name: email } }",
            "{ viewer { name } viewer { name: email } }",
            "{ viewer { name ... { name: email } } }",
            "{ viewer { name } ...F } fragment F on Query { viewer { name: email } }",
            "{ ...F ...G } fragment F on Query { viewer { name } }
                fragment G on Query { viewer { ...H } } fragment H on Account { name: email }",
            "query A { viewer { id } } query B { viewer { name } viewer { name: email } }",
        ] {
            assert_conflict(text, both);
        }
        assert_conflict(
            "{ viewer { x: name } viewer { x: email } }",
            "`viewer.x` in the response would be both `name` and `email`",
        );
        assert_conflict(
            "{ viewer { id } ...F } fragment F on Query { viewer { id: __typename } }",
            "`viewer.id` in the response would be both `id` and `__typename`",
        );
        for text in [
            "{ viewer { ... on Account { id } ... on Node { id: __typename } } }",
            "{ viewer { ... on Node { id } ... on Account { id: __typename } } }",
        ] {
            let both = "`viewer.id` in the response would be both `id` of type `ID!` and \
                        `__typename` of type `String!`";
            assert_conflict(text, both);
        }
    }

    #[test]
    fn one_name_for_two_lists_of_arguments_is_a_conflict() {
        let message =
            "`tickets` in the response would be `tickets` with two different lists of arguments";
        for (one, other) in [
            ("", "(first: 1)"),
            ("(first: 1)", "(first: 2)"),
            ("(first: 1)", "(last: 1)"),
            ("(first: 1)", "(first: $n)"),
            ("(filter: { status: [OPEN] })", "(filter: { status: [CLOSED] })"),
            ("(after: \"a\")", "(after: \"b\")"),
        ] {
            let text = |one, other| {
                format!(
                    "query($n: Int) {{ tickets{one} {{ totalCount }} tickets{other} {{ totalCount }} }}"
                )
            };
            assert_conflict(&text(one, other), message);
            assert_conflict(&text(other, one), message);
            assert_eq!(conflict(&text(one, one)), None);
        }
        assert_eq!(
            conflict(
                "{ tickets(first: 1, filter: { status: [], search: \"a\" }) { totalCount }
                   tickets(filter: { search: \"a\", status: [] }, first: 1) { totalCount } }"
            ),
            None
        );
    }

    #[test]
    fn one_name_for_types_of_different_shapes_is_a_conflict() {
        let nodes = |fields: &str| format!("{{ nodes(ids: []) {{ {fields} }} }}");
        for (fields, message) in [
            (
                "... on Ticket { x: number } ... on Account { x: email }",
                "`nodes.x` in the response would be both `number` of type `String!` and `email` of type `String`",
            ),
            (
                "... on Ticket { a: summary } ... on Attachment { a: size }",
                "`nodes.a` in the response would be both `summary` of type `String!` and `size` of type `Float!`",
            ),
            (
                "... on Ticket { a: attachments { id } } ... on Category { a: slug }",
                "`nodes.a` in the response would be both `attachments` of type `[Attachment!]!` and `slug` of type `String!`",
            ),
            (
                "... on Ticket { a: followUps { id } } ... on Comment { a: ticket { id } }",
                "`nodes.a` in the response would be both `followUps` of type `[Ticket!]!` and `ticket` of type `Ticket!`",
            ),
            (
                "... on Ticket { x: reporter { id } } ... on Comment { x: author { id: email } }",
                "`nodes.x.id` in the response would be both `id` of type `ID!` and `email` of type `String`",
            ),
            (
                "... on Ticket { a: status } ... on Comment { a: visibility }",
                "`nodes.a` in the response would be both `status` of type `TicketStatus!` and `visibility` of type `CommentVisibility!`",
            ),
        ] {
            assert_conflict(&nodes(fields), message);
        }
        let deep =
            nodes("... on Ticket { x: assignee { id } } ... on Comment { x: author { id: name } }");
        assert!(
            conflict(&deep).unwrap().contains("`nodes.x` in the response would be both `assignee`")
        );
    }

    #[test]
    fn fields_that_can_be_merged_pass() {
        for text in [
            "{ viewer { name name } viewer { name } }",
            "{ viewer { ...F ...F ... on Account { name } } } fragment F on Account { name ...G }
                fragment G on Account { name x: name }",
            "{ nodes(ids: []) { id ... on Ticket { id x: number } ... on Account { id x: name } ... on Node { id } } }",
            "{ nodes(ids: []) { ... on Ticket { x: reporter { y: name } } ... on Comment { x: author { y: name } } } }",
            // Different fields of the same type, as no object is both a ticket and a comment.
            "{ nodes(ids: []) { ... on Ticket { x: reporter { y: name } } ... on Comment { x: ticket { y: number } } } }",
            "{ nodes(ids: []) { ... on Category { name(locale: EN) } ... on Account { name } } }",
            "{ nodes(ids: []) { __typename ... on Ticket { x: __typename } ... on Account { x: name } } }",
            "{ __typename x: __typename __schema { types { name } } __schema { types { kind } } }",
            "query A { viewer { x: name } } query B { viewer { x: email } }",
            "{ unknown { x } unknown: viewer { name } viewer { x: unknown ... on Unknown { x } ...Unknown } }",
            "mutation { signOut { __typename } signOut { __typename } }",
            "subscription { inboxEvents { ... on TicketEvent { id } ... on CommentAdded { id } } }",
        ] {
            assert_eq!(conflict(text), None, "{text}");
        }
    }

    const EVENTS: &str = "subscription { inboxEvents { ... on TicketEvent { ticket { timeline {
        nodes { ... on TicketEvent { ticket { @ } } ... on CommentAdded { ticket { @ } } } } } }
        ... on StatusChanged { ticket { timeline { nodes {
        ... on CommentAdded { ticket { @ } } ... on StatusChanged { ticket { @ } } } } } } } }";

    /// Puts one selection into each of the places in [`EVENTS`].
    fn events(selections: [&str; 4]) -> Option<String> {
        let text = selections.iter().fold(EVENTS.to_owned(), |text, it| text.replacen('@', it, 1));
        conflict(&text)
    }

    #[test]
    fn the_types_of_all_objects_above_a_field_decide_whether_it_can_conflict() {
        let [x, y, none] = ["x: number", "x: summary", "number"];
        // A comment in the timeline of any event, or of a status change.
        for wrong in
            [[x, y, none, none], [x, none, y, none], [x, none, none, y], [none, x, y, none]]
        {
            let message = events(wrong).unwrap();
            assert!(message.contains("`inboxEvents.ticket.timeline.nodes.ticket.x`"), "{message}");
        }
        // A comment is no status change.
        assert_eq!(events([none, x, none, y]), None);
        assert_eq!(events([none, none, x, y]), None);
        assert_eq!(events([x, x, x, x]), None);
    }

    #[test]
    fn abstract_and_object_types_that_alternate_are_checked_in_bounded_time() {
        // Each level doubles the combinations of types. The levels are fragments, since the parser
        // limits how deeply braces nest.
        let document = |end: &str| {
            let mut text = format!(
                "subscription {{ inboxEvents {{ ...N20 }} }}
                 fragment N0 on TicketEvent {{ id }} fragment S0 on TicketEvent {{ {end} }}
                 fragment C0 on TicketEvent {{ ... on TicketEvent {{ x: id }} }}"
            );
            for level in 1..=20 {
                let below = level - 1;
                text += &format!(
                    " fragment N{level} on StreamMessage {{
                        ... on TicketEvent {{ ticket {{ timeline {{ nodes {{ ...N{below} }} }} }} }}
                        ...C{level} ...S{level} }}
                    fragment C{level} on CommentAdded {{
                        ticket {{ timeline {{ nodes {{ ...C{below} }} }} }} }}
                    fragment S{level} on StatusChanged {{
                        ticket {{ timeline {{ nodes {{ ...S{below} }} }} }} }}"
                );
            }
            conflict(&text)
        };
        assert_eq!(document("... on TicketEvent { x: id }"), None);
        assert!(document("... on TicketEvent { x: cursor }").is_some());
    }
}
