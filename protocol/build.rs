//! Generates the codec of every message of `schema/` and the enumerations of requests and errors.

#[path = "codegen/emit.rs"]
mod emit;
#[path = "codegen/enums.rs"]
mod enums;
#[path = "codegen/schema.rs"]
mod schema;

use std::path::{Path, PathBuf};
use std::{env, fs};

use schema::Message;

fn main() {
    println!("cargo:rerun-if-changed=schema");
    println!("cargo:rerun-if-changed=codegen");
    let messages = read_messages(Path::new("schema"));
    let mut code = String::new();
    for message in &messages {
        emit::emit_message(&mut code, message);
    }
    enums::emit_exports(&mut code, &messages);
    write("messages.rs", &code);
    let mut code = String::new();
    enums::emit_api_keys(&mut code, &messages);
    write("api_key.rs", &code);
    let errors = fs::read_to_string("schema/errors.txt").expect("the error table is readable");
    let mut code = String::new();
    enums::emit_errors(&mut code, &errors);
    write("error_code.rs", &code);
}

fn read_messages(folder: &Path) -> Vec<Message> {
    let entries = fs::read_dir(folder).expect("the schema folder is readable");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the schema folder is readable").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).expect("a schema file is readable");
    paths
        .iter()
        .filter_map(|path| Message::parse(&read(path)))
        .collect()
}

fn write(name: &str, code: &str) {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output folder"));
    fs::write(folder.join(name), code).expect("the output folder is writable");
}
