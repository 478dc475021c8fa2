//! The frames between the harness and a driver; `tests/conformance/README.md` has the layout.

use std::io::{self, Read, Write};

use super::record::Record;

/// A longer frame than any record of ours has: a driver that sends one has lost its place.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Writes one record.
pub fn write(out: &mut impl Write, record: &Record, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&record.offset.to_be_bytes());
    buffer.extend_from_slice(&record.partition.to_be_bytes());
    buffer.extend_from_slice(&record.timestamp.to_be_bytes());
    put(buffer, record.key.as_deref());
    put(buffer, record.value.as_deref());
    buffer.extend_from_slice(&(record.headers.len() as i32).to_be_bytes());
    for (name, value) in &record.headers {
        put(buffer, Some(name.as_bytes()));
        put(buffer, value.as_deref());
    }
    let length = (buffer.len() - 4) as i32;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    out.write_all(buffer)
}

fn put(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => buffer.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(bytes) => {
            buffer.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
            buffer.extend_from_slice(bytes);
        }
    }
}

/// Reads one record; none at the clean end of the stream.
pub fn read(input: &mut impl Read) -> io::Result<Option<Record>> {
    let mut length = [0; 4];
    match input.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => input.read_exact(&mut length[1..])?,
    }
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(bad("a frame longer than 1 MiB"));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let mut rest = &body[..];
    let offset = i64::from_be_bytes(take(&mut rest)?);
    let partition = i32::from_be_bytes(take(&mut rest)?);
    let timestamp = i64::from_be_bytes(take(&mut rest)?);
    let key = bytes(&mut rest)?;
    let value = bytes(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
        let name = bytes(&mut rest)?.ok_or_else(|| bad("a header without a name"))?;
        let name = String::from_utf8(name).map_err(|_| bad("a header name that is not UTF-8"))?;
        headers.push((name, bytes(&mut rest)?));
    }
    Ok(Some(Record {
        offset,
        partition,
        timestamp,
        key,
        value,
        headers,
    }))
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or_else(|| bad("a frame that ends too early"))?;
    *rest = tail;
    Ok(*head)
}

fn bytes(rest: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Ok(length) = usize::try_from(i32::from_be_bytes(take(rest)?)) else {
        return Ok(None);
    };
    if length > rest.len() {
        return Err(bad("a frame that ends too early"));
    }
    let (head, tail) = rest.split_at(length);
    *rest = tail;
    Ok(Some(head.to_vec()))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the driver wrote {what}"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::record::{Headers, Plan, Shape};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let shape = Shape {
            chooses_partition: true,
            gives_timestamps: true,
            binary: true,
            empty_values: true,
            headers: Headers::Binary { nulls: true },
        };
        let plan = Plan {
            shape,
            count: 1001,
            partitions: 3,
            base_time: 1_700_000_000_000,
        };
        let (mut wire, mut buffer) = (Vec::new(), Vec::new());
        for record in plan.records() {
            write(&mut wire, &record, &mut buffer).unwrap();
        }
        let mut rest = &wire[..];
        for n in 0..1001 {
            assert_eq!(read(&mut rest).unwrap().unwrap(), plan.record(n));
        }
        assert_eq!(read(&mut rest).unwrap(), None);
    }
}
