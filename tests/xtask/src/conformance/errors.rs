//! What must fail, with which of Kafka's errors, and that the connection works afterwards.

use super::client::Client;
use crate::tally::Report;

/// Kafka's numbers: UNKNOWN_TOPIC_OR_PARTITION is 3, MESSAGE_TOO_LARGE is 10.
const ERRORS: [(&str, &str); 4] = [
    ("unknown-topic-produce", "3"),
    ("too-large", "10"),
    ("after-too-large", "0"),
    ("unknown-topic-consume", "3"),
];

pub fn check(client: &dyn Client, bootstrap: &str, topic: &str, report: &mut Report) {
    let seen = client.errors(bootstrap, topic);
    for (name, expected) in ERRORS {
        let outcome = match &seen {
            Err(reason) => Err(reason.clone()),
            Ok(seen) => match seen.get(name) {
                Some(code) if code == expected => Ok(()),
                other => Err(format!("{other:?}, expected error {expected}")),
            },
        };
        report.check(
            &format!("errors: {name} is answered with {expected}"),
            outcome,
        );
    }
}
