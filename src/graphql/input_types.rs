//! The types of inputs, for transports that must know them before an operation is executed.

use std::collections::HashMap;

use async_graphql::{
    Name,
    parser::{
        self, parse_schema,
        types::{BaseType, InputObjectType, Type, TypeKind, TypeSystemDefinition},
    },
};

/// The input objects of a schema, with the types of their fields.
pub struct InputTypes {
    objects: HashMap<Name, HashMap<Name, Type>>,
}

impl InputTypes {
    /// Reads the input objects from a schema in the schema definition language.
    ///
    /// # Errors
    /// The text cannot be parsed.
    pub fn parse(sdl: &str) -> Result<Self, parser::Error> {
        let definitions = parse_schema(sdl)?.definitions.into_iter();
        let objects = definitions.filter_map(|definition| match definition {
            TypeSystemDefinition::Type(ty) => match ty.node.kind {
                TypeKind::InputObject(object) => Some((ty.node.name.node, fields(object))),
                _ => None,
            },
            _ => None,
        });
        Ok(Self { objects: objects.collect() })
    }

    /// Returns the type of a place in a variable of the type `variable`. The steps to it are names
    /// of fields and indices of lists. Returns `None` if there is no such place.
    pub fn at<'t>(
        &'t self,
        variable: &'t Type,
        mut steps: impl Iterator<Item = &'t str>,
    ) -> Option<&'t Type> {
        steps.try_fold(variable, |ty, step| match (&ty.base, step.parse::<usize>()) {
            (BaseType::List(item), Ok(_)) => Some(&**item),
            _ => self.objects.get(item_name(ty))?.get(step),
        })
    }
}

/// Whether a place of this type can hold a file. A list can: one value in its place is a list of
/// one.
pub fn is_upload(ty: &Type) -> bool {
    item_name(ty) == "Upload"
}

fn fields(object: InputObjectType) -> HashMap<Name, Type> {
    let fields = object.fields.into_iter();
    fields.map(|field| (field.node.name.node, field.node.ty.node)).collect()
}

/// Returns the name of a type, or of the type of a list's items.
fn item_name(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => item_name(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_place_follows_from_the_fields_and_items_on_the_way_to_it() {
        let sdl = "scalar Upload
            input Outer { inner: Inner rows: [[Inner!]!]! text: String! files: [Upload!]! }
            input Inner { file: Upload outer: Outer }";
        let types = InputTypes::parse(sdl).unwrap();
        let at = |variable: &str, path: &str| {
            let variable = Type::new(variable).unwrap();
            let steps = path.split('.').filter(|step| !step.is_empty());
            types.at(&variable, steps).map(|ty| (ty.to_string(), is_upload(ty)))
        };
        let found = |ty: &str, upload| Some((ty.to_owned(), upload));
        assert_eq!(at("Upload!", ""), found("Upload!", true));
        assert_eq!(at("[Upload]", ""), found("[Upload]", true));
        assert_eq!(at("[Upload]", "7"), found("Upload", true));
        assert_eq!(at("Outer!", "inner.file"), found("Upload", true));
        assert_eq!(at("Outer", "rows.0.1.outer.files.2"), found("Upload!", true));
        assert_eq!(at("Outer", "text"), found("String!", false));
        assert_eq!(at("Outer", "inner"), found("Inner", false));
        // One object in the place of a list is a list of one.
        assert_eq!(at("[Inner]", "file"), found("Upload", true));
        for nowhere in ["nothing", "0", "text.0", "files.x", "files.0.0", "inner.file.x"] {
            assert_eq!(at("Outer", nowhere), None, "{nowhere}");
        }
        assert_eq!(at("String", "x"), None);
    }
}
