//! The properties of a key, and the macro that declares a section of keys.

use std::ops::RangeInclusive;

/// Every environment variable of ours starts with this, except `DATABASE_URL`.
pub(super) const VARIABLE_PREFIX: &str = "TICKETWIRE_";

/// A key of the configuration.
pub(super) struct Key {
    /// Its name in the file, with its section: `mail.from`.
    pub(super) name: &'static str,
    /// The type of its value, as in the code.
    pub(super) type_name: &'static str,
    /// The value if nobody sets the key, or `None` if it has no default.
    pub(super) default: Option<&'static str>,
    /// The numbers that it accepts, or `None` if its type is the only bound.
    pub(super) range: Option<RangeInclusive<i64>>,
    /// A description in Markdown.
    pub(super) description: &'static str,
}

impl Key {
    /// Returns the environment variable that sets the key.
    pub(super) fn variable(&self) -> String {
        match self.name {
            // The name that other programs use as well.
            "database.url" => "DATABASE_URL".into(),
            name => format!("{VARIABLE_PREFIX}{}", name.replace('.', "_").to_uppercase()),
        }
    }

    /// Returns the environment variable that names a file with the value, or `None` if the value
    /// is no secret.
    pub(super) fn file_variable(&self) -> Option<String> {
        self.is_secret().then(|| format!("{}_FILE", self.variable()))
    }

    /// Whether its value must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.type_name.contains("Secret")
    }

    /// Whether its value is in quotes in the file: it is neither a number nor a switch.
    pub(super) fn is_quoted(&self) -> bool {
        let type_name = self.type_name.trim_start_matches("Option<").trim_end_matches('>');
        !["bool", "f64", "u32", "u64", "usize", "i64"].contains(&type_name)
    }

    /// Whether its value is a path.
    pub(super) fn is_path(&self) -> bool {
        self.type_name.contains("PathBuf")
    }
}

/// Declares a section of the configuration: its struct, and the list of its keys.
///
/// `in "mail."` is what the names of its keys start with. A key is declared as
///
/// ```text
/// /// A description in Markdown, for rustdoc and for operators.
/// name: Type = "default", 1..=10;
/// ```
///
/// The default and the range may be left out. `with { … }` lists the sections inside the section.
macro_rules! section {
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (
        $(#[$about:meta])+
        pub struct $section:ident in $prefix:literal {
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $type:ty $(= $default:literal)? $(, $range:expr)?;
            )*
        }
        $(with {
            $(
                $(#[$inner_about:meta])+
                $inner:ident: $inner_type:ty;
            )+
        })?
    ) => {
        $(#[$about])+
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $section {
            $( $(#[doc = $doc])+ pub $name: $type, )*
            $($( $(#[$inner_about])+ pub $inner: $inner_type, )+)?
        }

        impl $section {
            /// Returns the keys of this section and of the sections in it.
            pub(super) fn keys() -> Vec<&'static Key> {
                const KEYS: &[Key] = &[$(
                    Key {
                        name: concat!($prefix, stringify!($name)),
                        type_name: stringify!($type),
                        default: section!(@option $($default)?),
                        range: section!(@option $($range)?),
                        description: concat!($($doc),+),
                    },
                )*];
                let inner: &[fn() -> Vec<&'static Key>] = &[$($( <$inner_type>::keys, )+)?];
                KEYS.iter().chain(inner.iter().flat_map(|keys| keys())).collect()
            }
        }
    };
}

pub(super) use section;
