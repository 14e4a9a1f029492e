//! The structure that `src/lib.rs` and docs/ARCHITECTURE.md describe, checked against the code:
//! which layer may import which, and that no two files import each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The circles of files that are allowed, each with its reason.
const CIRCLES: &[(&[&str], &str)] = &[(
    &[
        "graphql/account",
        "graphql/audit",
        "graphql/category",
        "graphql/comment",
        "graphql/event",
        "graphql/event/kinds",
        "graphql/notification",
        "graphql/preferences",
        "graphql/search",
        "graphql/second_factor",
        "graphql/session",
        "graphql/ticket",
        "graphql/ticket/filter",
        "graphql/ticket_invitation",
    ],
    "the API's types refer to each other, as the schema's do",
)];

/// Where the code is.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_layer_imports_only_the_layers_below_it() {
    let rules = layer_rules(&fs::read_to_string(source().join("lib.rs")).unwrap());
    let code = Code::read();
    let mut violations = Vec::new();
    for import in code.imports() {
        let (Some(from), Some(to)) = (import.from.first(), import.to.first()) else { continue };
        let allowed = rules
            .get(from)
            .unwrap_or_else(|| panic!("no rule for {from}: add a row to the table in src/lib.rs"));
        if from != to && !allowed.contains(to) {
            violations.push(format!("{} imports {}", path(&import.from), import.to.join("::")));
        }
    }
    violations.dedup();
    assert_eq!(violations, [] as [String; 0]);
    let layers = code.files.keys().filter_map(|module| module.first()).collect::<BTreeSet<_>>();
    assert_eq!(rules.keys().collect::<BTreeSet<_>>(), layers, "the table in src/lib.rs is stale");
}

#[test]
fn the_architecture_page_has_the_same_rules_as_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let code = fs::read_to_string(source().join("lib.rs")).unwrap();
    assert_eq!(layer_rules(&page), layer_rules(&code));
}

#[test]
fn no_two_files_import_each_other() {
    let mut edges = BTreeMap::<Module, BTreeSet<Module>>::new();
    for import in Code::read().imports() {
        if import.from != import.to {
            edges.entry(import.from).or_default().insert(import.to);
        }
    }
    let allowed = CIRCLES.iter().map(|(files, _)| files.join(", ")).collect::<Vec<_>>();
    assert_eq!(circles(&edges), allowed, "move what both sides need into a file of its own");
}

#[test]
fn every_type_of_the_api_names_the_executor() {
    let declares = |line: &str| {
        let derives = ["SimpleObject", "Interface", "Union"];
        line.starts_with("#[Object")
            || line.starts_with("#[derive(") && derives.iter().any(|derive| line.contains(derive))
    };
    let files = rust_files(&source().join("graphql")).into_iter();
    let mut missing = Vec::new();
    for file in files.filter(|file| !file.ends_with("executor/tests.rs")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(str::trim).collect::<Vec<_>>();
        for (index, next) in lines.windows(3).enumerate() {
            // async-graphql executes the root types.
            let is_root = ["Query {", "Mutation {"].iter().any(|end| next[1].ends_with(end));
            let names = next.iter().any(|line| line.contains("crate::graphql::executor"));
            if declares(next[0]) && !is_root && !names {
                missing.push(format!("{}:{}", file.display(), index + 1));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn no_item_of_db_is_exported_by_another_layer() {
    let code = Code::read();
    let leaks = code.files.iter().filter(|(module, _)| module.first().is_none_or(|l| l != "db"));
    let code = &code;
    let leaks = leaks.flat_map(|(module, file)| {
        let exports = file.exports.iter();
        exports
            .filter(|(_, target)| code.resolve(target).first().is_some_and(|layer| layer == "db"))
            .map(move |(name, _)| format!("{} exports {name}", path(module)))
    });
    assert_eq!(leaks.collect::<Vec<_>>(), [] as [String; 0]);
}

#[test]
fn only_db_names_diesel() {
    let named = rust_files(&source()).into_iter().filter(|file| {
        let in_db = file.strip_prefix(source()).unwrap().starts_with("db");
        let text = fs::read_to_string(file).unwrap();
        !in_db
            && ["use diesel", "diesel::", "diesel_async::"].iter().any(|name| text.contains(name))
    });
    assert_eq!(named.collect::<Vec<_>>(), [] as [PathBuf; 0]);
}

/// The path of a module below the crate's root, such as `["db", "ticket"]`.
type Module = Vec<String>;

/// The rows `| `layer` | … | layers that it may import |` of a table.
fn layer_rules(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = text.lines().filter_map(|line| {
        let cells = line.trim_start_matches("//!").trim().strip_prefix("| `")?;
        let cells = cells.trim_end_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        let layer = cells.first()?.trim_end_matches('`').to_owned();
        let imports = cells.last()?.split(", ").filter(|name| *name != "none");
        Some((layer, imports.map(str::to_owned).collect()))
    });
    rows.collect()
}

/// The files of the crate, by module.
struct Code {
    files: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    /// Paths from the crate's root that the file names outside of its tests.
    named: BTreeSet<Module>,
    /// What the file re-exports or gives another name: the name, `*` for a glob, and the path from
    /// the crate's root.
    exports: BTreeMap<String, Module>,
}

struct Import {
    from: Module,
    /// The module that defines the imported item.
    to: Module,
}

impl Code {
    fn read() -> Self {
        let files = rust_files(&source()).into_iter().filter_map(|path| {
            let relative = path.strip_prefix(source()).unwrap().with_extension("");
            let mut module =
                relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect::<Module>();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            (module != ["main"]).then(|| {
                let syntax = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                let file = File::read(&module, &syntax);
                (module, file)
            })
        });
        Self { files: files.collect() }
    }

    fn imports(&self) -> Vec<Import> {
        let imports = self.files.iter().flat_map(|(from, file)| {
            file.named.iter().map(|named| Import { from: from.clone(), to: self.resolve(named) })
        });
        imports.collect()
    }

    /// The module that defines what a path names, through any re-exports.
    fn resolve(&self, named: &[String]) -> Module {
        let mut module = Module::new();
        for (index, segment) in named.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(segment)].concat();
            if self.files.contains_key(&child) {
                module = child;
            } else if let Some(target) =
                self.files.get(&module).and_then(|f| f.exports.get(segment))
            {
                let rest = [target.as_slice(), &named[index + 1..]].concat();
                return if rest == named { module } else { self.resolve(&rest) };
            } else {
                break;
            }
        }
        module
    }
}

impl File {
    fn read(module: &[String], syntax: &syn::File) -> Self {
        let mut reader = Reader { module, local: BTreeMap::new(), file: Self::default() };
        for item in &syntax.items {
            if let syn::Item::Mod(child) = item {
                let child = child.ident.to_string();
                reader.local.insert(child.clone(), [module, &[child]].concat());
            }
        }
        // First the imports: later paths may begin with a name that they bring in.
        for item in &syntax.items {
            if let syn::Item::Use(import) = item {
                reader.visit_item_use(import);
            }
        }
        reader.visit_file(syntax);
        reader.file
    }
}

struct Reader<'m> {
    module: &'m [String],
    /// The names of child modules and of imports, with their paths from the crate's root.
    local: BTreeMap<String, Module>,
    file: File,
}

impl Reader<'_> {
    /// A path from the crate's root. `None` for what other crates or the file itself define.
    fn absolute(&self, segments: &[String]) -> Option<Module> {
        let (first, rest) = segments.split_first()?;
        let base = match first.as_str() {
            "crate" => &[],
            "self" => self.module,
            "super" => {
                let ups = segments.iter().take_while(|segment| *segment == "super").count();
                let base = &self.module[..self.module.len().checked_sub(ups)?];
                return Some([base, &segments[ups..]].concat());
            }
            name => self.local.get(name)?,
        };
        Some([base, rest].concat())
    }

    fn name(&mut self, segments: &[String]) -> Option<Module> {
        let named = self.absolute(segments)?;
        self.file.named.insert(named.clone());
        Some(named)
    }

    fn use_tree(&mut self, before: &[String], tree: &syn::UseTree, exported: bool) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let (path, name) = match tree {
            syn::UseTree::Path(path) => {
                return self.use_tree(&with(&path.ident), &path.tree, exported);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.use_tree(before, tree, exported));
            }
            syn::UseTree::Glob(_) => (before.to_vec(), Some("*".to_owned())),
            syn::UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned())
            }
            syn::UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            syn::UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
        };
        let (Some(target), Some(name)) = (self.name(&path), name) else { return };
        if exported {
            self.file.exports.insert(name.clone(), target.clone());
        }
        self.local.insert(name, target);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let exported = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&[], &item.tree, exported);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(super)` imports nothing.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.name(&segments.collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        if let (syn::Type::Path(aliased), false) =
            (&*item.ty, matches!(item.vis, syn::Visibility::Inherited))
        {
            let segments = aliased.path.segments.iter().map(|segment| segment.ident.to_string());
            if let Some(target) = self.absolute(&segments.collect::<Vec<_>>()) {
                self.file.exports.insert(item.ident.to_string(), target);
            }
        }
        visit::visit_item_type(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.name_tokens(list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.name_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

impl Reader<'_> {
    /// Names the paths among tokens, which are no syntax tree.
    fn name_tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut joined = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if !joined {
                        self.name_if_path(&mut path);
                    }
                    path.push(ident.to_string());
                    joined = false;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => joined = !path.is_empty(),
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.name_if_path(&mut path),
                TokenTree::Group(group) => {
                    self.name_if_path(&mut path);
                    self.name_tokens(group.stream());
                }
            }
        }
        self.name_if_path(&mut path);
    }

    fn name_if_path(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.name(&path);
        }
    }
}

/// The groups of modules that reach each other, each as one line.
fn circles(edges: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let reached =
        edges.keys().map(|from| (from, reachable(edges, from))).collect::<BTreeMap<_, _>>();
    let mut found = BTreeSet::new();
    for (from, modules) in &reached {
        let back = |to: &&Module| reached.get(to).is_some_and(|onward| onward.contains(*from));
        let circle = modules.iter().filter(back).map(path).collect::<Vec<_>>();
        if !circle.is_empty() {
            found.insert(circle.join(", "));
        }
    }
    found.into_iter().collect()
}

fn reachable(edges: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for to in edges.get(module).into_iter().flatten() {
            if reached.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    reached
}

fn path(module: impl AsRef<[String]>) -> String {
    module.as_ref().join("/")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
