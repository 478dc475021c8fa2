//! Prints what a broker answers to batches good and bad: `answers PORT`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(port) = port else {
        eprintln!("usage: answers PORT");
        return ExitCode::from(2);
    };
    match millstream_tests::answers::of_broker(port) {
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
