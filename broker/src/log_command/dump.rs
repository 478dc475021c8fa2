//! `log dump`: a line per batch, and with `--records` a line per record. Ends with 4 when something that
//! was to be shown could not be read.

use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::Args;
use millstream_cli::{Output, put_bytes};
use millstream_log::inspect::{DumpedBatch, dump};
use millstream_model::Offset;
use millstream_protocol::records::{BatchHeader, Record, records_of};
use serde_json::{Map, Value, json};

use super::{DirectoryArgs, LogCommandError, counted, is_closed};

/// Arguments of `log dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
    /// Begin with the batch that holds this offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: i64,
    /// Print so many batches at most, of all partitions together; with --records so many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Print the records of each batch
    #[arg(long)]
    records: bool,
}

/// Bytes of a key or value that a line of text shows.
const SHOWN_BYTES: usize = 120;

pub(super) fn run(args: &DumpArgs, out: &mut dyn Write) -> Result<(), LogCommandError> {
    let directory = args.directory.open()?;
    let mut dumper = Dumper {
        args,
        out,
        left: args.max.unwrap_or(u64::MAX),
        partition: String::new(),
        problems: 0,
    };
    for folder in &directory.partitions {
        if dumper.left == 0 {
            break;
        }
        dumper.partition.clone_from(&folder.name);
        let mut failed = None;
        let mut show = |batch: DumpedBatch<'_>| match dumper.batch(&batch) {
            Ok(()) if dumper.left > 0 => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        dump(&**directory.disk(), folder, Offset(args.from), &mut show)?;
        match failed {
            Some(error) if is_closed(&error) => return Ok(()),
            Some(error) => return Err(LogCommandError::Output(error)),
            None => {}
        }
    }
    match dumper.problems {
        0 => Ok(()),
        problems => Err(LogCommandError::Damaged(format!(
            "{} of {} cannot be read; `millstream log verify` says whether it was durable",
            counted(problems, "place"),
            directory.root.display()
        ))),
    }
}

struct Dumper<'a> {
    args: &'a DumpArgs,
    out: &'a mut dyn Write,
    /// Lines that may still be printed.
    left: u64,
    partition: String,
    /// Places that could not be read.
    problems: u64,
}

impl Dumper<'_> {
    fn batch(&mut self, batch: &DumpedBatch<'_>) -> io::Result<()> {
        self.problems += u64::from(batch.problem.is_some());
        match self.args.directory.output {
            Output::Json => writeln!(self.out, "{}", self.document(batch))?,
            Output::Text => self.print(batch)?,
        }
        match (batch.header, &batch.problem) {
            (Some(header), None) if self.args.records => self.records(&header, batch.bytes),
            _ => {
                self.left -= 1;
                Ok(())
            }
        }
    }

    fn records(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let owner = match records_of(header, bytes) {
            Ok(owner) => owner,
            Err(error) => return self.unreadable(&error.to_string()),
        };
        for record in &owner {
            if self.left == 0 {
                return Ok(());
            }
            match record {
                Err(error) => return self.unreadable(&error.to_string()),
                Ok(record) if record.offset < self.args.from => continue,
                Ok(record) => match self.args.directory.output {
                    Output::Json => writeln!(self.out, "{}", record_document(&record))?,
                    Output::Text => print_record(self.out, &record)?,
                },
            }
            self.left -= 1;
        }
        Ok(())
    }

    fn unreadable(&mut self, problem: &str) -> io::Result<()> {
        self.left -= 1;
        self.problems += 1;
        match self.args.directory.output {
            Output::Json => writeln!(self.out, "{}", json!({"record_problem": problem})),
            Output::Text => writeln!(self.out, "  records cannot be read: {problem}"),
        }
    }

    fn print(&mut self, batch: &DumpedBatch<'_>) -> io::Result<()> {
        let (name, position) = (&self.partition, batch.position);
        let Some(header) = batch.header else {
            let problem = batch.problem.as_deref().unwrap_or_default();
            let path = batch.path.display();
            return writeln!(
                self.out,
                "{name}  no batch at byte {position} of {path}: {problem}"
            );
        };
        let crc = batch.problem.as_deref().unwrap_or("crc ok");
        let kind = if header.is_control() { "  control" } else { "" };
        writeln!(
            self.out,
            "{name}  offsets {}..{}  records {}  {}  producer {} epoch {} sequence {}  max-timestamp {}  leader-epoch {}  at {position}  size {}  {crc}{kind}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            codec(&header),
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.max_timestamp,
            header.partition_leader_epoch,
            header.size_in_bytes(),
        )
    }

    fn document(&self, batch: &DumpedBatch<'_>) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("partition", json!(self.partition));
        put("file", json!(batch.path.display().to_string()));
        put("position", json!(batch.position));
        put("problem", json!(batch.problem));
        if let Some(header) = batch.header {
            put("base_offset", json!(header.base_offset));
            put("last_offset", json!(header.last_offset()));
            put("records", json!(header.record_count));
            put("codec", json!(codec(&header)));
            put("producer_id", json!(header.producer_id));
            put("producer_epoch", json!(header.producer_epoch));
            put("base_sequence", json!(header.base_sequence));
            put("max_timestamp", json!(header.max_timestamp));
            put("leader_epoch", json!(header.partition_leader_epoch));
            put("size", json!(header.size_in_bytes()));
            put("crc_ok", json!(batch.problem.is_none()));
            put("control", json!(header.is_control()));
        }
        Value::Object(object)
    }
}

fn codec(header: &BatchHeader) -> String {
    match header.codec() {
        Ok(codec) => codec.name().to_owned(),
        Err(error) => error.to_string(),
    }
}

fn print_record(out: &mut dyn Write, record: &Record<'_>) -> io::Result<()> {
    let (offset, timestamp) = (record.offset, record.timestamp);
    let (key, value) = (text(record.key), text(record.value));
    write!(
        out,
        "  offset {offset}  timestamp {timestamp}  key {key}  value {value}"
    )?;
    for (name, value) in record.headers.clone() {
        let (name, value) = (text(Some(name)), text(value));
        write!(out, "  header {name}={value}")?;
    }
    writeln!(out)
}

/// Text as it is, cut where it is long; anything else by its size.
fn text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let size = bytes.len();
    match std::str::from_utf8(bytes) {
        Err(_) => format!("({size} bytes)"),
        Ok(text) if size <= SHOWN_BYTES => format!("{text:?}"),
        Ok(text) => {
            let shown: String = text.chars().take(SHOWN_BYTES / 4).collect();
            format!("{shown:?}… ({size} bytes)")
        }
    }
}

fn record_document(record: &Record<'_>) -> Value {
    let mut object = Map::new();
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), json!(record.timestamp));
    put_bytes(&mut object, "key", record.key);
    put_bytes(&mut object, "value", record.value);
    let headers = record.headers.clone().map(|(name, value)| {
        let mut header = Map::new();
        put_bytes(&mut header, "name", Some(name));
        put_bytes(&mut header, "value", value);
        Value::Object(header)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}
