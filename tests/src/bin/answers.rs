//! Prints what a broker answers: `answers PORT` to batches good and bad, `answers PORT bad-input` to what
//! nobody should send.

use std::process::ExitCode;

use millstream_tests::{answers, bad_input};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|text| text.parse().ok());
    let said = match (port, arguments.next().as_deref()) {
        (Some(port), None) => answers::of_broker(port),
        (Some(port), Some("bad-input")) => bad_input::of_broker(port),
        _ => {
            eprintln!("usage: answers PORT [bad-input]");
            return ExitCode::from(2);
        }
    };
    match said {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("answers: {reason}");
            ExitCode::FAILURE
        }
    }
}
