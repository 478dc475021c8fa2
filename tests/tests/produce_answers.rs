//! Produce answers as Apache Kafka does, but for texts and what is stricter on purpose.
#![allow(missing_docs, clippy::unwrap_used)]

/// Recorded from Apache Kafka 4.3.1 by `answers PORT`.
const KAFKAS: &str = include_str!("../conformance/answers/produce.txt");

#[test]
fn produce_answers_as_kafka_does() {
    let ours = millstream_tests::answers::of_node().unwrap();
    let expected = millstream_tests::answers::expected(KAFKAS);
    let lines = ours.lines().zip(&expected);
    let different: Vec<_> = lines.filter(|(ours, line)| ours != *line).collect();
    assert_eq!(different, [], "ours, what is recorded");
    assert_eq!(ours.lines().count(), expected.len());
}
