//! Tells cargo what else the binary is made of.

fn main() {
    // `embed_migrations!` doesn't notice new folders by itself.
    println!("cargo:rerun-if-changed=migrations");
}
