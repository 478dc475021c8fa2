//! The text of a configuration file, TOML or Java properties: refused with a text, or a configuration
//! that is the same when its settings are given one by one.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use millstream::config::{Config, Entry, Origin, parse_file};

fuzz_target!(|data: &[u8]| {
    let [choice, text @ ..] = data else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let name = if choice % 2 == 0 {
        "millstream.toml"
    } else {
        "server.properties"
    };
    let entries = match parse_file(Path::new(name), text) {
        Ok(entries) => entries,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says what is wrong");
            return;
        }
    };
    let set = entries.iter().map(|entry| Entry {
        origin: Origin::Set,
        ..entry.clone()
    });
    let set = Config::from_entries(set.collect());
    match (Config::from_entries(entries), set) {
        (Ok(from_file), Ok(from_set)) => {
            assert_eq!(from_file.config, from_set.config);
            let _ = from_file.config.topic_config();
            let lines = from_file.warnings.iter();
            assert!(
                lines.clone().all(|line| !line.contains('\n')),
                "one line each"
            );
        }
        (Err(file), Err(set)) => {
            assert!(!file.to_string().is_empty(), "an error says what is wrong");
            assert!(!set.to_string().is_empty(), "an error says what is wrong");
        }
        (file, set) => panic!("a file and settings differ: {file:?}, {set:?}"),
    }
});
