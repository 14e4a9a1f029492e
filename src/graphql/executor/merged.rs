//! Root types that are merged from several objects.

use std::collections::HashMap;

use async_graphql::{
    ContainerType, Context, ServerResult, Value,
    registry::{MetaType, Registry},
};
use futures_util::{FutureExt as _, future::BoxFuture};

/// A type that has the fields of several objects. [`merged`](super::merged) implements it.
pub trait Merged: ContainerType {
    /// Returns the objects.
    fn parts() -> Vec<Box<dyn Part>>;
}

/// An object whose fields are part of a merged type.
pub trait Part: Send + Sync {
    /// Returns the names of its fields.
    fn fields(&self, registry: &mut Registry) -> Vec<String>;

    /// Resolves the field that the context selects. Boxed alone: async-graphql resolves the fields of a
    /// merged object in a future that has room for one of each part, and moves it several times.
    fn resolve_field<'a>(
        &'a self,
        ctx: &'a Context<'_>,
    ) -> BoxFuture<'a, ServerResult<Option<Value>>>;
}

impl<T: ContainerType> Part for T {
    fn fields(&self, registry: &mut Registry) -> Vec<String> {
        match registry.create_fake_output_type::<T>() {
            MetaType::Object { fields, .. } => fields.into_keys().collect(),
            _ => vec![],
        }
    }

    fn resolve_field<'a>(
        &'a self,
        ctx: &'a Context<'_>,
    ) -> BoxFuture<'a, ServerResult<Option<Value>>> {
        ContainerType::resolve_field(self, ctx).boxed()
    }
}

/// The parts of a merged type, by the names of their fields.
pub(super) struct Parts {
    parts: Vec<Box<dyn Part>>,
    places: HashMap<String, usize>,
}

impl Parts {
    pub(super) fn of<T: Merged>() -> Self {
        let (parts, mut registry) = (T::parts(), Registry::default());
        let named = parts.iter().enumerate().flat_map(|(place, part)| {
            part.fields(&mut registry).into_iter().map(move |name| (name, place))
        });
        let places = named.collect();
        Self { parts, places }
    }

    /// Returns the part that has a field.
    pub(super) fn with_field(&self, name: &str) -> Option<&dyn Part> {
        Some(&**self.parts.get(*self.places.get(name)?)?)
    }
}

/// Declares a type that has the fields of several objects.
macro_rules! merged {
    ($(#[$attribute:meta])* pub struct $name:ident($($part:ty),* $(,)?);) => {
        $(#[$attribute])*
        #[derive(async_graphql::MergedObject, Default)]
        pub struct $name($($part),*);

        impl $crate::graphql::executor::Merged for $name {
            fn parts() -> Vec<Box<dyn $crate::graphql::executor::Part>> {
                vec![$(Box::new(<$part>::default())),*]
            }
        }
    };
}

pub(crate) use merged;
